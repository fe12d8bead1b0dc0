"""The steps of the chapter, the notebooks that show them, and the order of its rooms."""

import ast
from pathlib import Path

import nbformat
import pytest

import okml.video_workshop
from okml.chapters import chapter
from okml.video_workshop.config import PROFILES
from okml.video_workshop.experiment import Experiment


def test_the_notebooks_show_every_step():
    books = [nbformat.read(path, as_version=4) for path in chapter("video_workshop").notebooks]
    code = "\n".join(cell.source for book in books for cell in book.cells)
    assert [step for step in Experiment.step_names() if f"experiment.{step}." not in code] == []


def test_a_notebook_of_one_theme_leaves_the_record_to_the_last(tmp_path, monkeypatch):
    experiment = Experiment(PROFILES["smoke"], tmp_path)
    assert not experiment.data.frames["data"].is_empty()
    part = experiment.record_so_far()
    assert set(part.metrics) == {"share_of_tied_events"}
    assert not list(tmp_path.glob("*.json"))
    again = Experiment(PROFILES["smoke"], tmp_path)
    others = set(again.step_names()) - {"data"}
    monkeypatch.setattr(again.steps, "is_kept", lambda name, *_: name in others)
    monkeypatch.setattr(again, "record", lambda: "of all")
    assert again.record_so_far() != "of all"
    monkeypatch.setattr(again.steps, "is_kept", lambda name, *_: True)
    assert again.record_so_far() == "of all"


def test_every_scale_names_the_logs_it_reads_once():
    assert PROFILES["smoke"].logs == ("ml_100k",)
    assert PROFILES["cpu"].logs == ("ml_100k", "ader_diginetica", "ader_yoochoose")
    assert PROFILES["gpu"].logs == (
        "kuairand_1k", "microlens_100k", "ml_100k", "kuairand_pure", "ader_diginetica",
        "ader_yoochoose",
    )  # fmt: skip


PACKAGE = "okml.video_workshop"
# What the modules of a room may import: their own room and those before it.
BEFORE = {
    "settings": (),
    "common": ("settings",),
    "items": ("settings", "common"),
    "users": ("settings", "common", "items"),
    "goals": ("settings", "common", "items", "users"),
    "stream": ("settings", "common", "items", "users"),
}


def imports_of(path):
    """Yield what a file imports from the chapter, as paths below it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            inside = node.module.removeprefix(PACKAGE).removeprefix(".")
            yield from [inside] if inside else [alias.name for alias in node.names]


@pytest.mark.parametrize("room", BEFORE)
def test_no_room_imports_a_later_one(room):
    files = [*(Path(okml.video_workshop.__file__).parent / room).rglob("*.py")]
    allowed = {room, *BEFORE[room]}
    found = {(path.name, name) for path in files for name in imports_of(path)}
    assert len(files) > 3
    assert not {(file, name) for file, name in found if name.partition(".")[0] not in allowed}
