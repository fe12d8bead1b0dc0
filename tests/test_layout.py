"""The page *How the code is laid out* in CONTRIBUTING.md says what the code does."""

import ast
import importlib
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import okml
from okml.chapters import CHAPTERS

PACKAGE = Path(okml.__file__).parent
PAGE = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text()
SECTION = PAGE.split("## How the code is laid out")[1].split("\n## ")[0]
LAYERS = [
    [name for name in line.split("  ")[0].replace(",", " ").split() if name]
    for line in SECTION.split("```text")[2].split("```")[0].strip().splitlines()
]
WORDS = re.findall(r"^\| `(\w+)` \| `okml\.([\w.]+)` \|", SECTION, re.MULTILINE)


def room_of(module):
    """Return the first name below okml: a chapter, a shared room, or a module of its own."""
    return module.split(".")[1] if "." in module else module


@cache
def imports():
    """Return the rooms that each room imports when it runs, with one module that does."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        names = path.relative_to(PACKAGE).with_suffix("").parts
        own = found.setdefault(names[0], {})
        for node in running(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "okml":
                modules = (
                    [f"okml.{alias.name}" for alias in node.names]
                    if node.module == "okml"
                    else [node.module]
                )
                own.update({room_of(module): ".".join(names) for module in modules})
        own.pop(names[0], None)
    found.pop("__init__")
    return found


def running(tree):
    """Yield all nodes except those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from running(node)


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
        f"okml.{module} imports {other}"
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
