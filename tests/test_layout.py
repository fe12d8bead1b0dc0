"""The page *How the code is laid out* in CONTRIBUTING.md says what the code does."""

import ast
import importlib
import json
import re
import textwrap
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from typing import get_args

import pytest
import torch

from okml.chapters import CHAPTERS, chapter
from okml.seqrec.batches import LastTargetBatch
from okml.seqrec.losses import Softmax
from okml.seqrec.settings import BackboneSettings
from okml.seqrec.tasks import LastTarget
from okml.strec.experiment import Experiment
from okml.strec.model import STRec
from okml.strec.sampler import SamplerSettings
from tests.tools.nearest import ROOT, imported

PACKAGE = ROOT / "src/okml"
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SECTION = PAGE.split("## How the code is laid out")[1].split("\n## ")[0]
LAYERS = [
    [name for name in line.split("  ")[0].replace(",", " ").split() if name]
    for line in SECTION.split("```text")[2].split("```")[0].strip().splitlines()
]
# Rows on arms: the chapter, and the names in the columns: stated in, picked by, built by.
ARMS = []
for line in SECTION.split("| built by |\n")[1].split("\n\n")[0].splitlines()[1:]:
    first, *names = ([*re.findall(r"`([\w.]+)`", column)] for column in line.split("|")[1:-1])
    ARMS.append((first[0] if first else ARMS[-1][0], *names))
# Modules between a property and the line of maths, with the number of their calls.
CALLS = {
    tuple(re.findall(r"`okml\.([\w.]+)`", modules)): int(count)
    for count, modules in re.findall(r"^\| (\d+) \| (`okml.*?) \|", SECTION, re.MULTILINE)
}
# Rows on trying an arm: the chapter or theme, its job, other lists of jobs, what is printed, and
# the steps that show it.
TRIED = re.findall(
    r"^   \| `([\w.]+)` \| `(.+?)`(.*?) \| `(.+?)` \| (.+?) \|$", SECTION, re.MULTILINE
)
WORDS = re.findall(r"^\| `(\w+)` \| `okml\.([\w.]+)` \|", SECTION, re.MULTILINE)


def room_of(path):
    """Return the first name below okml: a chapter, a shared room, or a module of its own."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@cache
def imports():
    """Return the rooms that each room imports when it runs, with one module that does."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        own = found.setdefault(room_of(path), {})
        others = imported(path, at_run_time=True)
        own |= {room_of(other): path.relative_to(PACKAGE) for other in others}
    for room, own in found.items():
        own.pop(room, None)
        own.pop("__init__", None)
    found.pop("__init__")
    return found


def test_no_rooms_import_each_other():
    TopologicalSorter(imports()).prepare()  # raises CycleError


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_chapter_imports_another(chapter):
    assert {other: imports()[chapter].get(other) for other in CHAPTERS} == dict.fromkeys(CHAPTERS)


def test_the_picture_names_every_room_once():
    named = [name for layer in LAYERS for name in layer]
    assert sorted(named) == sorted({*imports()} - {"__version__"})


def test_every_import_points_down_in_the_picture():
    depth = {name: level for level, layer in enumerate(LAYERS) for name in layer}
    up = {
        f"{module} imports {other}"
        for room, others in imports().items()
        for other, module in others.items()
        if other in depth and depth[other] < depth[room]
    }
    assert up == set()


@pytest.mark.parametrize(("word", "module"), WORDS)
def test_each_word_lives_where_the_page_says(word, module):
    assert hasattr(importlib.import_module(f"okml.{module}"), word)


def test_twenty_words_are_enough():
    assert 10 <= len(WORDS) <= 20


OWN = "no chapter has two, and none imports another's"
# Names that classes of several rooms have, and why that misleads nobody.
SHARED_NAMES = {
    "Arm": OWN,
    "Experiment": OWN,
    "Job": OWN,
    "Study": OWN,
    "Block": "layers with a residual connection, here of a transformer and there of a ResNet",
    "Critics": "the critics of a chapter as one module, whose forward calls all of them",
    "Images": "pixels and labels, which one chapter draws anew and another classifies",
}


def test_a_class_has_a_name_of_its_own():
    rooms = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                rooms.setdefault(node.name, []).append(room_of(path))
    repeated = {name: found for name, found in rooms.items() if len(found) > 1}
    assert repeated.keys() == SHARED_NAMES.keys()
    for name, found in repeated.items():
        assert len({*found}) == len(found), f"{name} stands twice in one of {found}"


class ReachedError(Exception):
    """The line of maths is reached, and the calls above it can be counted."""


def calls_above_key_bias(monkeypatch, run):
    """Return the modules of our calls between ``run`` and the soft mask, the outermost first."""

    def stop(*args):
        raise ReachedError

    monkeypatch.setattr("okml.strec.model.key_bias", stop)
    with pytest.raises(ReachedError) as reached:
        run()
    modules = [entry.frame.f_globals["__name__"] for entry in reached.traceback]
    return [name.removeprefix("okml.") for name in modules if name.startswith("okml.")]


def test_by_hand_a_cell_is_at_most_six_calls_from_the_line_of_maths(monkeypatch):
    cells = json.loads((ROOT / "notebooks/strec.ipynb").read_text())["cells"]
    code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert " key_bias(" in code
    assert " LastTarget(" in code  # no cell calls anything by hand that lies higher above it
    sizes = {"length": 4, "width": 8, "heads": 2, "layers": 2, "hidden": 8}
    settings = BackboneSettings(**sizes, causal=False, padding_side="left")
    model = STRec(9, settings, (2, 1), SamplerSettings())
    model.stage = "relaxed"
    items, user = torch.arange(1, 5)[None], torch.tensor([0])
    batch = LastTargetBatch(items, items, torch.tensor([5]), user, padded=False)
    calls = calls_above_key_bias(monkeypatch, lambda: LastTarget(model, Softmax())(batch))
    assert len(calls) <= 6
    assert calls == ["seqrec.tasks", "strec.model", "strec.model"]  # three, as the page says


@pytest.mark.slow
@pytest.mark.realdata
def test_a_property_is_as_many_calls_from_the_line_of_maths_as_the_page_says(tmp_path, monkeypatch):
    experiment = Experiment(chapter("strec").profile("smoke"), tmp_path)
    calls = calls_above_key_bias(monkeypatch, lambda: experiment.quality)
    rows = [
        next(row for row in CALLS if any(f"{name}.".startswith(f"{room}.") for room in row))
        for name in calls
    ]
    assert Counter(rows) == CALLS
    assert f"lie {len(calls)} calls of ours" in SECTION


def defined(chapter_name, dotted):
    """Return what a chapter's package defines: of a module, or of a class in one."""
    *path, owner, name = f"okml.{chapter_name}.{dotted}".split(".")
    if owner[0].isupper():
        return getattr(getattr(importlib.import_module(".".join(path)), owner), name)
    return getattr(importlib.import_module(".".join([*path, owner])), name)


def values(profile, dotted):
    """Return the values of a profile's field, or its names, in all elements on the way to it."""
    found = [profile]
    for name in dotted.split("."):
        fields = [getattr(each, name) for each in found]
        parts = [each if isinstance(each, tuple | dict) else [each] for each in fields]
        found = [part for several in parts for part in several]
    return found


def test_arms_are_stated_picked_and_built_where_the_page_says():
    assert sorted({name for name, *_ in ARMS}) == sorted(CHAPTERS)
    for name, stated, picked, built in ARMS:
        assert all(defined(name, each) for each in (*stated, *built))
        profiles = chapter(name).profiles().values()
        for field in picked:
            assert any(values(profile, field) for profile in profiles), f"{name}: {field}"


def test_each_arm_that_is_picked_by_name_is_picked_by_some_profile():
    apart = {"default", "distilgpt2_start"}  # always runs; needs weights that a person names
    for name, stated, picked, _ in ARMS:
        names = defined(name, stated[0])
        names = {*names} if isinstance(names, dict) else {*get_args(names)}
        profiles = chapter(name).profiles().values()
        ran = {each for profile in profiles for field in picked for each in values(profile, field)}
        assert not picked or names - ran <= apart, f"{name} never runs {names - ran - apart}"


def test_an_arm_can_be_tried_in_every_chapter():
    assert {name.partition(".")[0] for name, *_ in TRIED} == {*CHAPTERS} - {"strec"}  # the example


@pytest.mark.parametrize(("name", "job", "others", "printed", "steps"), TRIED)
def test_a_job_is_chosen_and_its_numbers_are_shown_as_the_page_says(
    name, job, others, printed, steps
):
    of = importlib.import_module(f"okml.{name}.arms")
    study = importlib.import_module(f"okml.{name}.study")
    found = chapter(name.partition(".")[0])
    assert eval(job, vars(of) | {"profile": found.profile("smoke")})
    assert all(hasattr(of, each) for each in re.findall(r"`(\w+_jobs)`", others))
    (own,) = (
        each
        for each in vars(study).values()
        if getattr(each, "__module__", "") == study.__name__ and each.__name__.endswith("Study")
    )
    asked = re.findall(r"study\.(\w+)\(", printed)
    assert asked
    assert all(hasattr(own, method) for method in asked)
    experiment = importlib.import_module(f"okml.{name.partition('.')[0]}.experiment").Experiment
    assert all(hasattr(experiment, step) for step in re.findall(r"`(\w+)`", steps))


@pytest.mark.slow
@pytest.mark.realdata
def test_one_arm_trains_alone_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent(SECTION.split("```python")[1].split("```")[0]), {})
    assert "'ndcg@10': 0.0" in capsys.readouterr().out
    assert [*(tmp_path / "_build/try").rglob("*position*")]
