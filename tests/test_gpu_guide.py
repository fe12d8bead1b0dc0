"""The commands of the guide to GPUs: each is read by the program it names, and its run fits."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer
from typer.testing import CliRunner

from okml import notebooks
from okml import run as run_module
from okml.add.config import PROFILES
from okml.add.full_scale import prerequisites
from okml.add.full_scale import run as full_scale_run
from okml.add.full_scale.__main__ import app as full_scale
from okml.add.full_scale.planning import EXAMPLE_BYTES, card_memory, host_memory
from okml.add.full_scale.settings import EXAMPLES, FullScaleSettings
from okml.chapters import CHAPTERS, Chapter
from okml.cli import app
from okml.data import catalog, listed
from okml.errors import ResourceError
from okml.ledger import load_record
from okml.paths import repository_root
from okml.plan import Plan, sum_of
from okml.profile import Profile
from okml.space_time.ridge import LARGE_D
from okml.training import ahead
from okml.training.batches import DataOrder
from okml.video_workshop.users.__main__ import app as users
from tests.second_device.smallest import QUICK

H100_GIB = 78  # of the 80 GB, what a process can have
GUIDE = repository_root() / "book" / "guides" / "gpu.md"


def programs(line: str) -> list[list[str]]:
    """Return the words of each program that a line of a shell starts, in `tmux` or without it."""
    words = shlex.split(line, comments=True)
    if words[:1] != ["tmux"]:
        return [words]
    return [shlex.split(part) for part in words[-1].partition("2>&1")[0].split("&&")]


def commands() -> Iterator[list[str]]:
    """Yield the words of each command of okml's, without what starts it."""
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    for words in (
        each for block in blocks for line in block.splitlines() for each in programs(line)
    ):
        while words and re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        if words[:1] == ["okml"]:
            yield words
        for place, word in enumerate(words):
            if word == "-m" and words[place + 1].startswith("okml."):
                yield words[place:]


ALL = list(commands())
OTHERS = {"okml.add.full_scale": full_scale, "okml.video_workshop.users": users}  # than chapters
RUNS = [
    words
    for words in ALL
    if words[1] not in OTHERS and (words[0] == "-m" or words[1] in ("run", "plan"))
]


def words_of(page: Path) -> str:
    """Return the text of a page without its breaks of lines."""
    return page.read_text("utf-8").replace("\n", " ")


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    """The plan of each chapter's stated settings for a GPU."""
    return {name: Chapter(name).plan(Chapter(name).profile("gpu")) for name in CHAPTERS}


class StoppedError(ResourceError):
    """What a plan is answered with, so that nothing starts."""


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[list[Profile]]:
    """The settings that plans are asked for."""
    asked: list[Profile] = []

    def plan(self: Chapter, profile: Profile) -> Any:
        asked.append(profile)
        raise StoppedError("nothing starts here")

    monkeypatch.setattr(Chapter, "plan", plan)
    monkeypatch.setattr(notebooks, "is_current", lambda job: False)
    monkeypatch.setattr(ahead, "find_spec", str)  # as if Ray were installed
    monkeypatch.chdir(tmp_path)  # where a folder of `--out` comes to lie
    with mock.patch.dict(os.environ):  # which options for workers change
        yield asked


def start(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    if words[0] == "okml":
        assert isinstance(CliRunner().invoke(app, words[1:]).exception, StoppedError)
        return
    module, *options = words[1:]
    monkeypatch.setattr(sys, "argv", [module, *options])
    with pytest.raises(SystemExit) as ended:
        run_module.main(module.removeprefix("okml."))
    assert ended.value.code == StoppedError.exit_code


def test_the_guide_shows_every_way_to_start() -> None:
    assert {words[0] for words in RUNS} == {"okml", "-m"}
    assert {words[1] for words in RUNS} >= {"run", "plan", "okml.strec", "okml.add"}


@pytest.fixture(scope="module")
def needed() -> dict[str, float]:
    """The memory of a card that settings need, by the settings; commands share many of them."""
    return {}


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_each_run_is_understood_and_fits_one_h100(
    words: list[str],
    planned: list[Profile],
    needed: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start(monkeypatch, words)
    monkeypatch.undo()
    (settings,) = planned
    assert settings.name == "gpu"
    key = settings.model_dump_json()
    if key not in needed:
        needed[key] = Chapter(settings.chapter).plan(settings).gpu_memory_gib
    assert 0 < needed[key] <= H100_GIB


@pytest.mark.parametrize("words", [words for words in ALL if words not in RUNS], ids=" ".join)
def test_each_other_command_is_understood(words: list[str]) -> None:
    other = OTHERS.get(words[1])
    program, rest = (app, words[1:]) if other is None else (other, words[2:])
    command = typer.main.get_command(program)
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(words[1], rest)  # raises where an option or argument is unknown


@pytest.mark.parametrize("folder", ["", "ru"])
def test_the_table_of_devices_says_what_tests_and_records_show(folder: str) -> None:
    text = (GUIDE.parents[1] / folder / "guides" / GUIDE.name).read_text("utf-8")
    row = r"^\| `(\w+)` \| (.+) \| `make test` \| `make (\w+)` \| (.+) \| (.+) \|$"
    found = re.findall(row, text, re.MULTILINE)
    assert [name for name, *_ in found] == list(CHAPTERS)
    tests = repository_root() / "tests"
    for name, scales, second, two, gpu in found:
        assert {*re.findall(r"\w+", scales), "gpu"} == {*Chapter(name).profiles()}
        assert (tests / name / "test_gpu_profile.py").exists()  # the miniature
        assert second == ("test" if name in QUICK else "nightly")
        programs = (tests / ("seqrec" if name == "strec" else name)).glob("test_*.py")
        launched = any(re.search(r"\b(launch|run_two)\(", path.read_text()) for path in programs)
        assert (two not in ("no", "нет")) == launched, name
        assert (gpu in ("never", "никогда")) == (load_record(name, "gpu") is None)


def test_the_guide_names_all_that_needs_float64() -> None:
    sources = (repository_root() / "src" / "okml").rglob("*.py")
    needs = re.findall(r'require_float64\(.+, "(.+)"\)', "".join(p.read_text() for p in sources))
    told = re.search("lack float64, which (.+) need;", words_of(GUIDE))
    assert told is not None
    assert {*re.split(", | and ", told[1])} == {each.lower() for each in needs}


def test_the_guide_names_the_chapters_without_networks_and_the_width_of_a_probe() -> None:
    text = words_of(GUIDE)
    told = re.search("; ([^;]+) offer no networks for export", text)
    assert told is not None
    without = [name for name in CHAPTERS if find_spec(f"okml.{name}.exports") is None]
    assert re.findall(r"`(\w+)`", told[1]) == without
    assert f"of more than {{setting}}`{LARGE_D:,}` features" in text


@pytest.fixture
def shared_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str | None], tuple[int, FullScaleSettings]]:
    """Start the guide's training on several cards; return the processes and their settings."""
    text = GUIDE.read_text("utf-8")
    file = re.search(r"^echo '(.+)' > (\S+)$", text, re.MULTILINE)
    launched = re.search(r"--num_processes (\d+) -m okml\.add\.full_scale (train .*)", text)
    assert file is not None
    assert launched is not None
    (tmp_path / file[2]).write_text(file[1])
    monkeypatch.chdir(tmp_path)

    def start(processes: str | None) -> tuple[int, FullScaleSettings]:
        count = processes or launched[1]
        monkeypatch.setenv("WORLD_SIZE", count)
        with mock.patch.object(full_scale_run, "train") as train:
            done = CliRunner().invoke(full_scale, launched[2].split())
        assert done.exit_code == 0, done.output
        return int(count), train.call_args.args[0]

    return start


@pytest.mark.parametrize("processes", [None, "1", "16"])
def test_one_training_on_several_cards_cuts_a_batch_as_one_card_does(
    processes: str | None,
    shared_training: Callable[[str | None], tuple[int, FullScaleSettings]],
) -> None:
    count, settings = shared_training(processes)
    training, group = settings.training, settings.add.heads.virtual_batch
    order = DataOrder(
        EXAMPLES, training.batch_size, training.shuffle, training.seed,
        count, training.gradient_accumulation, least=group,
    )  # fmt: skip
    assert training.batch_size == group * order.parts


def test_one_training_on_several_cards_fits_them_by_its_shards_alone(
    shared_training: Callable[[str | None], tuple[int, FullScaleSettings]],
) -> None:
    (count, _), (_, settings) = shared_training(None), shared_training("1")
    whole = settings.model_copy(update={"shard_student": False})
    shared, each = (sum_of(card_memory(which, count)) for which in (settings, whole))
    assert shared < H100_GIB < each
    host = max(item.value for item in host_memory(settings))
    text = words_of(GUIDE)
    assert f"each of eight cards holds {shared:.0f} GiB" in text
    assert f"once more, {each:.0f} GiB in all" in text
    assert f"takes {host:.0f} GiB of the machine's memory" in text


@pytest.mark.parametrize("folder", ["", "ru"])
def test_the_table_of_plans_says_what_each_chapter_of_an_hour_or_more_takes(
    folder: str, plans: dict[str, Plan]
) -> None:
    text = (GUIDE.parents[1] / folder / "guides" / GUIDE.name).read_text("utf-8")
    row = r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (≤ )?(\d+) \|$"
    told = {name: tuple(cells) for name, *cells in re.findall(row, text, re.MULTILINE)}
    assert told == {
        name: (
            *(f"{x:.0f}" for x in (plan.hours, plan.gpu_memory_gib, plan.memory_gib)),
            "≤ " * (plan.disk_bound_gib > 0),
            f"{plan.disk_gib:.0f}",
        )
        for name, plan in plans.items()
        if plan.hours >= 1
    }


def test_the_numbers_of_two_chapters_are_those_of_their_plans(plans: dict[str, Plan]) -> None:
    text = words_of(GUIDE)
    stored = next(item for item in plans["space_time"].items if item.what == "activations on disk")
    passes = re.search(r"of (\d+) passes", stored.follows_from)
    assert passes is not None
    assert f"once: {passes[1]} passes" in text
    assert f"by `okml plan` {stored.value:.0f} GiB" in text
    published = PROFILES["gpu"].published
    names = prerequisites.entries(published.settings(), published.released)
    size = sum(catalog()[name].bytes or 0 for name in names)
    assert f"fetches models and captions, {size / 1e9:.0f} GB" in text
    assert f"shards of their own, {EXAMPLES * EXAMPLE_BYTES / 1e9:.0f} GB each" in text
    drawn = next(item for item in plans["add"].items if item.what.startswith("Table 2"))
    assert f"{drawn.value:.0f} hours on one card" in text


def test_the_table_of_data_by_hand_names_the_files_that_plans_ask_for(
    plans: dict[str, Plan],
) -> None:
    found = {row.name: row for plan in plans.values() for row in map(listed, plan.data) if row}
    asked = {name: list(row.names) for name, row in found.items() if row.by_hand}
    row = r"^\| `(\w+)` \| (`[^|]+`) \|$"
    told = re.findall(row, GUIDE.read_text("utf-8"), re.MULTILINE)
    assert {name: re.findall(r"`([^`]+)`", files) for name, files in told} == asked


def test_a_record_is_sent_with_the_pages_that_its_tests_read() -> None:
    text = GUIDE.read_text("utf-8")
    sent = re.search(r"^git add results/space_time/gpu\.json (.+)$", text, re.MULTILINE)
    assert sent is not None
    root = repository_root()
    assert [name for name in sent[1].split() if not (root / name).is_file()] == []
    pages = (GUIDE, GUIDE.parents[1] / "ru" / "guides" / GUIDE.name)
    assert {path.relative_to(root).as_posix() for path in pages} <= {*sent[1].split()}


@pytest.mark.parametrize(
    ("bits", "said", "fits"),
    [("int8", "{} GiB with a batch and a probe", False), ("nf4", "takes {} GiB in all", True)],
)
def test_a_quantized_model_needs_the_card_that_the_guide_says(
    bits: str, said: str, fits: bool
) -> None:
    found = Chapter("space_time")
    changes = {"models.8.placement": "resident", "models.8.quantization": bits}
    needed = found.plan(found.profile("gpu", changes)).gpu_memory_gib
    assert said.format(f"{needed:.0f}") in GUIDE.read_text("utf-8")
    assert (needed < H100_GIB) == fits
