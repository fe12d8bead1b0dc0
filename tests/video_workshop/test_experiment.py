"""The steps of the chapter, the notebooks that show them, and the order of its rooms."""

import nbformat
import pytest

from okml.chapters import chapter
from okml.video_workshop.config import PROFILES
from okml.video_workshop.experiment import Experiment
from tests.tools.nearest import ROOT, imported


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
    assert PROFILES["cpu"].logs == ("ml_100k", "ader_diginetica")
    assert PROFILES["night"].logs == ("ml_1m", "ml_100k", "ader_diginetica")
    assert PROFILES["gpu"].logs == (
        "kuairand_1k", "microlens_100k", "ml_100k", "kuairand_pure", "ader_diginetica",
        "ader_yoochoose",
    )  # fmt: skip


PACKAGE = ROOT / "src/okml/video_workshop"
# What the modules of a room may import: their own room and those before it.
BEFORE = {
    "settings": (),
    "common": ("settings",),
    "items": ("settings", "common"),
    "users": ("settings", "common", "items"),
    "goals": ("settings", "common", "items", "users"),
    "stream": ("settings", "common", "items", "users"),
}


@pytest.mark.parametrize("room", BEFORE)
def test_no_room_imports_a_later_one(room):
    files = [*(PACKAGE / room).rglob("*.py")]
    allowed = {room, *BEFORE[room]}
    found = {
        (path.name, other.relative_to(PACKAGE).with_suffix("").parts[0])
        for path in files
        for other in imported(path)
        if other.is_relative_to(PACKAGE)
    }
    assert len(files) > 3
    assert not {(file, name) for file, name in found if name not in allowed}
