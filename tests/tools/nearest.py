"""Name the files of tests that a change of a module concerns, the nearest first."""

from __future__ import annotations

import argparse
import ast
from collections import deque
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes except those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from running(node)


@cache
def imported(path: Path, *, at_run_time: bool = False) -> frozenset[Path]:
    """Return the files of the repository that a file imports, for its types too or not."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), set[Path]()
    for node in running(tree) if at_run_time else ast.walk(tree):
        bases = [ROOT, ROOT / "src"]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            bases = [path.parents[node.level - 1]] if node.level else bases
            module = node.module or ""
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for place in (base / name.strip(".").replace(".", "/") for base in bases for name in names):
            found |= {place.with_suffix(".py"), place / "__init__.py"}
    return frozenset(place for place in found if place.is_file())


@cache
def distances(test: Path) -> dict[Path, int]:
    """Return how many imports lie between a file of tests and each file that it reaches."""
    steps, queue = {test: 0}, deque([test])
    while queue:
        path = queue.popleft()
        for place in imported(path) - steps.keys():
            steps[place] = steps[path] + 1
            queue.append(place)
    return steps


def nearest_tests(path: Path) -> list[str]:
    """Return the files of tests of a module: its namesakes, its room, then others that reach it.

    A module that is loaded by name, such as a part of the site, is left to the tests of its room.
    """
    rooms, ranked = path.relative_to(ROOT / "src/okml").parts[:-1], []
    for test in sorted((ROOT / "tests").rglob("test_*.py")):
        steps = distances(test).get(path)
        folders = zip(rooms, test.relative_to(ROOT / "tests").parts[:-1], strict=False)
        shared = sum(1 for _ in takewhile(lambda names: names[0] == names[1], folders))
        if steps or shared:
            namesake = path.stem in test.stem and bool(shared or not rooms)
            ranked.append((not namesake, -shared, steps or 99, str(test.relative_to(ROOT))))
    return [test for *_, test in sorted(ranked)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", type=Path, help="a file of src/okml")
    print(*nearest_tests(parser.parse_args().module.resolve()), sep="\n")
