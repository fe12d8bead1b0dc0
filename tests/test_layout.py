"""The page *How the code is laid out* in CONTRIBUTING.md says what the code does."""

import importlib
import re
from functools import cache
from graphlib import TopologicalSorter

import pytest

from okml.chapters import CHAPTERS
from tests.tools.nearest import ROOT, imported

PACKAGE = ROOT / "src/okml"
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SECTION = PAGE.split("## How the code is laid out")[1].split("\n## ")[0]
LAYERS = [
    [name for name in line.split("  ")[0].replace(",", " ").split() if name]
    for line in SECTION.split("```text")[2].split("```")[0].strip().splitlines()
]
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
