"""Run the tests nearest to what changed since the branch left main, committed or not.

python -m tests.tools.changed [OPTION OF PYTEST...]
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

from okml.site.labels import LISTED
from tests.tools.nearest import ROOT, distances, nearest_tests

FILES = 12  # of tests, at most: what runs in a minute
OKML, TESTS = ROOT / "src/okml", ROOT / "tests"


def changed_files() -> list[Path]:
    """Return the files that differ from the commit where this branch left main, and new ones."""
    base = _git("merge-base", "HEAD", "main") or _git("merge-base", "HEAD", "origin/main")
    differing = _git("diff", "--name-only", *(base or ["HEAD"]))
    found = [ROOT / name for name in {*differing, *_git("ls-files", "-o", "--exclude-standard")}]
    return sorted(path for path in found if path.is_file())


def _git(*arguments: str) -> list[str]:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def concerned(path: Path) -> list[str]:
    """Return the files of tests that a changed file concerns, the nearest first."""
    if path.is_relative_to(OKML):
        budgets = TESTS / path.relative_to(OKML).parts[0] / "test_planning.py"
        first = [budgets] if path.name in ("arms.py", "config.py") and budgets.is_file() else []
        return [*(str(test.relative_to(ROOT)) for test in first), *nearest_tests(path)]
    if path.match("test_*.py"):
        return [str(path.relative_to(ROOT))]
    if path.suffix == ".ipynb":
        site = ("labels", "translation")
        return ["tests/test_notebook_skeleton.py", *(f"tests/site/test_{of}.py" for of in site)]
    if path == ROOT / LISTED:
        return ["tests/site/test_labels.py"]
    if path.is_relative_to(TESTS) and path.suffix == ".py":
        steps = {test: distances(test).get(path) for test in TESTS.rglob("test_*.py")}
        reached = sorted((step, test) for test, step in steps.items() if step)
        return [str(test.relative_to(ROOT)) for _, test in reached]
    return []


def chosen(ranked: Sequence[Sequence[str]]) -> list[str]:
    """Return the nearest tests of each changed file, then the second nearest, without repeats."""
    return list(dict.fromkeys(filter(None, chain(*zip_longest(*ranked)))))


def main(options: list[str]) -> None:
    changed = changed_files()
    tests = chosen([concerned(path) for path in changed])
    print(f"{len(changed)} files changed; {len(tests)} files of tests reach them.")
    if len(tests) > FILES:
        print(f"The nearest {FILES} run here, the others in `make test`.")
    sys.stdout.flush()
    if tests:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *options, *tests[:FILES]])


if __name__ == "__main__":
    main(sys.argv[1:])
