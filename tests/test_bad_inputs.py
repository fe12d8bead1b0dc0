"""What a person can get wrong on the command line: one message, the right exit code, no traceback.

Nothing is executed: what would start a run, plan one or go out is replaced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from okml import cli, notebooks, resources, run
from okml.chapters import CHAPTERS, Chapter
from okml.data.catalog import entry
from tests.notebooks import write_notebook
from tests.plans import made

Okml = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a notebook a chapter, and things that stand where they should not."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "data").mkdir()
    (root / "results").mkdir()
    for name in CHAPTERS:
        write_notebook(root / "notebooks" / f"{name}.ipynb")
    (root / "file").write_text("no place for anything\n", encoding="utf-8")
    (root / "not_text").write_bytes(b"\xff\xfe")
    (root / "loop").symlink_to("loop")
    (root / "nowhere").symlink_to("nothing")
    return root


@pytest.fixture
def okml(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Okml:
    """Run the command line as the console script does; return its exit code and its words."""
    plan = made()
    monkeypatch.setattr(notebooks, "execute_all", lambda *_, **__: None)
    monkeypatch.setattr(resources, "require", lambda *_: None)
    monkeypatch.setattr(resources, "shortfalls", lambda *_: [])
    monkeypatch.setattr(Chapter, "plan", lambda *_: plan)
    monkeypatch.setenv("OKML_ROOT", str(checkout))
    monkeypatch.setenv("OKML_DATA", str(checkout / "data"))
    monkeypatch.setenv("OKML_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(checkout)

    def call(*arguments: str, start: Callable[[], None] = cli.main, **environment: str) -> Any:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["okml", *arguments])
        code: Any = 0
        try:
            start()
        except SystemExit as ended:
            code = ended.code or 0
        told = capfd.readouterr()
        return code, told.err or told.out

    return call


def shown(value: Any) -> str:
    return ascii(" ".join(value))[1:80] if isinstance(value, tuple) else ""


NAMES = [
    (("run", "strek"), "Did you mean 'strec'?"),
    (("run", ""), "Unknown chapter ''"),
    (("run", "../strec"), "Unknown chapter '../strec'"),
    (("run", "STREC"), "Unknown chapter 'STREC'"),
    (("run", "strec\0"), "Unknown chapter"),
    (("run", "strec", "strek"), "Unknown chapter 'strek'"),
    (("run", "\udcff"), "is no text"),
    (("run", "--chapter"), "No such option"),
    (("rum", "strec"), "No such command"),
    (("refresh", "strek"), "Did you mean 'strec'?"),
    (("status", "strek"), "Did you mean 'strec'?"),
    (("status", "--lines", "-1"), "Invalid value for '--lines'"),
    (("plan",), "Missing argument"),
    (("plan", "strek"), "Did you mean 'strec'?"),
    (("plan", "strec", "add"), "unexpected extra argument"),
    (("report", "strek"), "Did you mean 'strec'?"),
    (("report", "--format", "yaml"), "Invalid value for '--format'"),
    (("data",), "Usage"),
    (("data", "lost"), "No such command"),
    (("data", "list", "ml_100k"), "unexpected extra argument"),
    (("data", "fetch"), "Missing argument"),
    (("data", "fetch", "ml_100"), "Did you mean ml_100k"),
    (("data", "fetch", ""), "no data set or model called ''"),
    (("data", "fetch", "../ml_100k"), "no data set or model called"),
    (("data", "fetch", "ml_100k", "ml_100"), "no data set or model called 'ml_100'"),
    (("data", "fetch", "--all"), "No such option"),
    (("data", "verify"), "Missing argument"),
    (("data", "verify", "ml_100"), "Did you mean ml_100k"),
    (("doctor", "strec"), "unexpected extra argument"),
]
OPTIONS = [
    (("run", "strec", "--profile", "huge"), "Invalid value for '--profile'"),
    (("run", "strec", "--profile", "SMOKE"), "Invalid value for '--profile'"),
    (("run", "strec", "--profile", ""), "Invalid value for '--profile'"),
    (("run", "strec", "--profile"), "requires an argument"),
    (("book", "--profile", "huge"), "Invalid value for '--profile'"),
    (("plan", "strec", "--profile", "huge"), "Invalid value for '--profile'"),
    (("run", "strec", "--seed"), "requires an argument"),
    (("run", "strec", "--seed", "one"), "Invalid value for '--seed'"),
    (("run", "strec", "--seed", "1.5"), "Invalid value for '--seed'"),
    (("run", "strec", "--seed", "-1"), "seeds.0: Input should be greater than or equal to 0"),
    (("run", "strec", "--seed", "1099511627776"), "seeds.0: Input should be less than or equal"),
    (("run", "strec", "--seed", "1", "-p", "seeds=[2]"), "seeds is given twice"),
    (("run", "strec", "-p"), "requires an argument"),
    (("run", "strec", "-p", "seeds=[1]", "-p", "seeds=[2]"), "seeds is given twice"),
    (("run", "strec", "--out", "file"), "Nothing can be written to file (File exists)"),
    (("run", "strec", "--out", "file/x"), "Nothing can be written to file/x (Not a directory)"),
    (("run", "strec", "--out", "loop"), "Nothing can be written to loop"),
    (("run", "strec", "--out", "nowhere"), "Nothing can be written to nowhere"),
    (("run", "strec", "--out", "/proc/okml"), "Nothing can be written to /proc/okml"),
    (("run", "strec", "--out", "x" * 300), "Nothing can be written to"),
    (("run", "strec", "--out", "\udcff"), "is no text"),
    (("run", "strec", "--run-dir", "file"), "Nothing can be written to"),
    (("run", "strec", "--run-dir", "file/x"), "(Not a directory)"),
    (("run", "strec", "--run-dir", "loop"), "Nothing can be written to"),
    (("report", "--into"), "requires an argument"),
    (("report", "--into", "missing"), "does not exist"),
    (("report", "--into", "data"), "is a directory"),
]  # fmt: skip
# After `okml run strec -p`.
PARAMETER = [
    ("width", "-p takes name=value; got 'width'"),
    ("=", "-p takes name=value; got '='"),
    ("=3", "-p takes name=value; got '=3'"),
    ("", "-p takes name=value; got ''"),
    ("profile=cpu", "Write --profile cpu"),
    ("name=cpu", "name: it is no setting, --profile chooses among the profiles."),
    ("overrides={}", "no field 'overrides'"),
    ("networ.width=3", "no field 'networ'. Did you mean 'network'?"),
    ("network.widht=3", "StrecProfile.network has no field 'widht'. Did you mean 'width'?"),
    (" network.width=3", "no field ' network'. Did you mean 'network'?"),
    (".=1", "no field ''"),
    ("recipes.=1", "recipes has the numbers 0 to 1, not ''"),
    ("recipes..batch=1", "recipes has the numbers 0 to 1, not ''"),
    ("recipes.2.batch=1", "recipes has the numbers 0 to 1, not '2'"),
    ("recipes.-1.batch=1", "recipes has the numbers 0 to 1, not '-1'"),
    ("recipes.²=1", "recipes has the numbers 0 to 1, not '²'"),
    ("recipes.x=1", "recipes has the numbers 0 to 1, not 'x'"),
    ("network.width.x=1", "network.width has no fields of its own"),
    ("network=3", "network: Input should be a valid dictionary"),
    ("network=[1]", "write it as JSON: -p 'network={"),
    ("network.width=", "network.width: Input should be a valid integer"),
    ("network.width=0", 'network.width: Input should be greater than or equal to 1; got "0"'),
    ("network.width=-8", "network.width: Input should be greater than or equal to 1"),
    ("network.width=NaN", "network.width: Input should be a valid integer"),
    ("network.width=1e300", "network.width: Input should be a valid integer"),
    ("network.width=1.5", "network.width: Input should be a valid integer"),
    ("network.width=" + "9" * 5000, "network.width: "),
    ("network.width=null", "network.width: Input should be a valid integer; got null"),
    ("network.width=[]", "network.width: Input should be a valid integer; got []"),
    ("network.heads=3", "network: width 32 is not a multiple of 3 heads"),
    ("recipes.0.dropout=7", "recipes.0.dropout: Input should be less than 1"),
    ("recipes.0.dropout=inf", "recipes.0.dropout: Input should be a finite number"),
    ("recipes.0.learning_rates.0=-1", "recipes.0.learning_rates.0: Input should be greater than 0"),
    ("recipes.0.loss.kind=soft", "recipes.0.loss: Input tag 'soft'"),
    ('recipes.0.loss={"kind":"softmax","x":3}', "recipes.0.loss.x: There is no such field"),
    ("mixers.0=gru", "mixers.0: Input should be 'attention', 'autoformer'"),
    ("seeds=1", "seeds: Input should be a valid tuple; write it as JSON: -p 'seeds=[0]'"),
    ("seeds=[]", "seeds: Tuple should have at least 1 item"),
    ("seeds=[0,0]", "seeds: 0 is listed twice"),
    ("seeds=[-1]", "seeds.0: Input should be greater than or equal to 0; got -1"),
    ("seeds=[true]", "seeds.0: Input should be a number, not true or false"),
    ("seeds=[1.5]", "seeds.0: Input should be a valid integer"),
    ("seeds=null", "seeds: Input should be a valid tuple"),
    ("seeds=[1", "seeds: \"[1\" is not valid JSON"),
    ("seeds=[" + "9" * 5000 + "]", "is not valid JSON"),
    ("seeds=" + "[" * 100_000, "seeds: the JSON is nested too deeply"),
    ("seed=1", "no field 'seed'. Did you mean 'seeds'?"),
    ("run_dir=x", "no field 'run_dir'"),
    ("device=tpu", "device: Input should be 'auto'"),
    ('budget={"minutes":1,"minutes":2}', "a name is there twice among minutes, minutes"),
    ('budget={"minutes":"x","disk_gib":0}', "budget.disk_gib: Input should be greater than 0"),
    ("datasets.0.log=ml_100", "datasets.0.log: There is no event log 'ml_100'. Did you mean"),
    ("datasets.0.log=../ml_100k", "There is no event log '../ml_100k'"),
    ("datasets.0.log=[red]x[/]", "is not valid JSON"),
    ("datasets.0.log=\udcff", "is no text"),
    ("datasets.0.log=" + "x" * 1_000_000, "There is no event log"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [*NAMES, *OPTIONS, *((("run", "strec", "-p", value), words) for value, words in PARAMETER)],
    ids=shown,
)
def test_what_is_written_wrong_is_said(okml: Okml, arguments: tuple[str, ...], words: str) -> None:
    code, told = okml(*arguments)
    assert code == 2
    assert words in " ".join(told.replace("│", " ").split())
    assert "Traceback" not in told


@pytest.mark.parametrize(("value", "words"), PARAMETER[:12])
def test_a_chapter_without_its_notebook_says_the_same(okml: Okml, value: str, words: str) -> None:
    code, told = okml("-p", value, start=lambda: run.main("strec"))
    assert code == 2
    assert words in " ".join(told.split())


@pytest.mark.parametrize("folder", ["file", "file/x", "loop", "nowhere", "/proc/okml", "x" * 300])
def test_a_folder_of_a_run_that_cannot_be_is_said(okml: Okml, folder: str) -> None:
    code, told = okml("--run-dir", folder, start=lambda: run.main("strec"))
    assert code == 2
    assert "Nothing can be written to" in told


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("refresh", "strec"), 1, "There is no smoke run of strec by today's code"),
        (("book",), 1, "Not executed, failed, or out of date at smoke: space_time"),
        (("report", "--into", "file"), 6, "file has no place for the ledger"),
        (("report", "--into", "not_text"), 6, "not_text cannot be read"),
        (("data", "fetch", "ml_100k"), 3, "going out is off (OKML_OFFLINE)"),
        (("data", "fetch", "coveo"), 3, "coveo can only be fetched by hand"),
        (("data", "fetch", "microlens_100k"), 3, "microlens_100k can only be fetched by hand"),
        (("data", "verify", "ml_100k"), 3, "ml_100k/ml-100k.inter is not here"),
        (("data", "verify", "coveo"), 3, "no hash to compare the files of coveo with"),
    ],
    ids=shown,
)
def test_what_is_not_here_is_said(
    okml: Okml, arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert okml(*arguments)[0] == code
    assert words in " ".join(okml(*arguments)[1].split())


def test_terms_are_named_before_anything_is_fetched(okml: Okml) -> None:
    gated = next(name for name in ("kuairand_1k", "llama2_7b") if entry(name).license.accept)
    code, told = okml("data", "fetch", gated, OKML_OFFLINE="0")
    assert code == 3
    assert "OKML_ACCEPT=" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",), ("--version",), ("run", "strec"), ("run", "strec", "-p", "network={}"),
        ("run", "strec", "--seed", "1"), ("run", "strec", "--out", "elsewhere"),
        ("run", "strec", "-p", "network.width=24", "-p", "network.heads=3"),
        ("run", "strec", "-p", 'recipes.0.loss={"kind":"softmax"}'),
        ("run", "strec", "--force"), ("plan", "strec"), ("plan", "strec", "--profile", "cpu"),
        ("report", "strec"), ("report", "--format", "json"), ("data", "list"),
        ("data", "list", "--json"), ("doctor",),
    ],
    ids=shown,
)  # fmt: skip
def test_what_is_right_is_done(okml: Okml, arguments: tuple[str, ...]) -> None:
    assert okml(*arguments)[0] == 0


PLACES = {
    "a colon": ":",
    "three colons": ":::",
    "a file": "{root}/file",
    "a file among folders": "{root}/data:{root}/file",
    "a loop of links": "{root}/loop",
    "nobody's home": "~nobody_of_this_name/okml",
    "a name that is too long": "/" + "x" * 300,
}
COMMANDS = [("data", "list"), ("data", "fetch", "ml_100k"), ("data", "verify", "ml_100k"),
            ("doctor",)]  # fmt: skip


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("arguments", COMMANDS, ids=shown)
def test_a_variable_that_names_no_data_folder_is_said(
    okml: Okml, checkout: Path, arguments: tuple[str, ...], place: str
) -> None:
    code, told = okml(*arguments, OKML_DATA=place.format(root=checkout))
    assert code == 2
    assert "names no folder" in told


@pytest.mark.parametrize("below", ["{root}/file/x", "/proc/okml"])
def test_a_data_folder_that_cannot_be_is_said_when_it_is_needed(
    okml: Okml, checkout: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    place = below.format(root=checkout)
    assert okml("data", "list", OKML_DATA=place)[0] == 0
    code, told = okml("data", "fetch", "us_zipcodes", OKML_OFFLINE="0")
    assert code == 3
    assert "cannot be written to" in " ".join(told.split())


@pytest.mark.parametrize("root", ["{root}/missing", "{root}/file", "{root}/loop"])
@pytest.mark.parametrize(
    "arguments", [("run", "strec"), ("refresh",), ("book",), ("report",), ("doctor",)],
    ids=shown,
)  # fmt: skip
def test_a_variable_that_names_no_checkout_is_said(
    okml: Okml, checkout: Path, arguments: tuple[str, ...], root: str
) -> None:
    code, told = okml(*arguments, OKML_ROOT=root.format(root=checkout))
    assert code == 2
    assert "is no folder" in told


def test_a_folder_that_is_no_checkout_has_no_book(okml: Okml, checkout: Path) -> None:
    code, told = okml("book", OKML_ROOT=str(checkout / "data"))
    assert code == 1
    assert "it is no checkout of okml" in " ".join(told.split())


RECORDS = {
    "empty": b"",
    "cut": b'{"schema_version": 3, "chapter": "strec", "pro',
    "a list": b"[]",
    "a number": b"7",
    "without a schema": b"{}",
    "of the future": b'{"schema_version": 99}',
    "not UTF-8": b'{"schema_version": "\xff"}',
    "nested too deeply": b"[" * 100_000,
    "NaN": b'{"schema_version": NaN}',
    "a web page": b"<!DOCTYPE html>",
}


@pytest.mark.parametrize("content", RECORDS.values(), ids=RECORDS)
def test_a_damaged_record_is_named(okml: Okml, checkout: Path, content: bytes) -> None:
    path = checkout / "results" / "strec" / "cpu.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    try:
        code, told = okml("report", "strec")
    finally:
        path.unlink()
    assert code == 6
    assert "cpu.json" in told
    assert "Traceback" not in told


EVENTS = {
    "empty": b"",
    "cut": b'{"time": "2026',
    "a list": b"[]\n",
    "a number": b"7\n",
    "null": b"null\n",
    "no event": b"{}\n",
    "NaN": b'{"time": NaN, "event": NaN}\n',
    "not UTF-8": b"\xff\n",
    "nested too deeply": b"[" * 100_000 + b"\n",
    "a start without a chapter": b'{"time": "2026", "event": "run started"}\n',
    "a start at no time": b'{"time": 7, "event": "run started", "chapter": "strec"}\n',
}


@pytest.mark.parametrize("content", EVENTS.values(), ids=EVENTS)
def test_damaged_events_of_a_run_are_left_out_or_named(
    okml: Okml, checkout: Path, content: bytes
) -> None:
    path = checkout / "_build" / "runs" / "strec" / "smoke" / "events.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    try:
        code, told = okml("status", "strec")
    finally:
        path.unlink()
    if b"run started" in content:
        assert code == 6
        assert "events.jsonl was changed" in " ".join(told.split())
    else:
        assert code == 0
        assert "Nothing has run here yet" in told


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"x" * 1000])
def test_damaged_data_are_named(
    okml: Okml, checkout: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    folder = checkout / "data" / "us_zipcodes"
    folder.mkdir(exist_ok=True)
    (folder / "zipcodes.csv").write_bytes(content)
    for arguments in (("data", "fetch", "us_zipcodes"), ("data", "verify", "us_zipcodes")):
        code, told = okml(*arguments)
        assert code == 3
        assert "zipcodes.csv" in told
        assert "okml data fetch" in told
    (state,) = (
        row["state"]
        for row in json.loads(okml("data", "list", "--json")[1])
        if row["name"] == "us_zipcodes"
    )
    assert state == "not here"
