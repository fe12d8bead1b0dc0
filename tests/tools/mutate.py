"""Break random lines of okml one at a time, and name the breaks that no test notices.

Neither mutmut nor cosmic-ray fits: mutmut breaks every line of undecorated functions, after a run
of the whole suite; cosmic-ray works in the checkout, with one command for the tests of all modules.

It is two files, since the ways to break a line, ``mutants``, are tested without running any test.
"""

import argparse
import compileall
import contextlib
import hashlib
import json
import os
import py_compile
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue

import pytest
import yaml

from tests.tools.mutants import Mutant, mutants
from tests.tools.nearest import ROOT, nearest_tests

LEFT_OUT = re.compile(r"/(figures(/|\.py)|plotting\.py|planning\.py)|okml/(plan|tables)\.py")
REASONS = Path(__file__).with_name("survivors.yml")  # why a mutant lives, by its name
NOTHING_FAILED = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
FILES = 30  # of tests that judge a mutant, at most: a room whose parts are loaded by name has 30
HANGS = 600  # seconds: a test that takes longer hangs


def sources() -> dict[str, str]:
    """Return the texts of okml's modules by path, without drawing and planning."""
    files = (str(file.relative_to(ROOT)) for file in (ROOT / "src/okml").rglob("*.py"))
    return {name: (ROOT / name).read_text("utf-8") for name in files if not LEFT_OUT.search(name)}


def draw(count: int, seed: int, texts: dict[str, str]) -> list[Mutant]:
    """Return one mutant each of ``count`` lines.

    The hash of a line's text decides, so that a change elsewhere leaves the draw as it is.
    """
    drawn: dict[int, list[Mutant]] = defaultdict(list)
    for path, text in texts.items():
        lines = [line.strip() for line in text.splitlines()]
        for mutant in mutants(path, text):
            repeated = lines[: mutant.line].count(mutant.text)
            key = hashlib.sha256(f"{seed} {path} {mutant.text} {repeated}".encode()).hexdigest()
            drawn[int(key, 16)].append(mutant)
    return [drawn[key][key % len(drawn[key])] for key in sorted(drawn)[:count]]


def copy_repository(tree: Path) -> Path:
    """Copy the working tree, with modules compiled such that a changed source is compiled anew."""
    listed = ["git", "ls-files", "-coz", "--exclude-standard", "--deduplicate"]
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).rstrip("\0").split("\0"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    by_hash = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(tree / "src", quiet=1, invalidation_mode=by_hash)
    return tree


def failures(tree: Path, *arguments: str) -> list[str]:
    """Run pytest in a copy of the repository and name the tests that fail."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not browser"]
    limit = ["-o", f"faulthandler_timeout={HANGS}", "-o", "faulthandler_exit_on_timeout=true"]
    own = {"PYTHONPATH": f"{tree}/src:{tree}", "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+") as log:
        tests = subprocess.Popen(
            [*command, *limit, *arguments],
            cwd=tree, env=os.environ | own, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):  # an import can hang, too
            tests.wait(2 * HANGS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(tests.pid, signal.SIGKILL)
        log.seek(0)
        said = log.read()
    named = re.findall(r"^(?:FAILED|ERROR) ([^\s\[]+)", said, re.M)
    if (code := tests.wait()) == pytest.ExitCode.USAGE_ERROR and "loading conftest" not in said:
        raise RuntimeError(f"pytest does not take {arguments}.")
    return named or ([] if code in NOTHING_FAILED else ["hangs or crashes"])


def judge(mutant: Mutant, tests: list[str], trees: SimpleQueue[Path]) -> str:
    """Return the first test that notices a mutant in one of the copies; nothing if none does."""
    tree = trees.get()
    source = (file := tree / mutant.path).read_bytes()
    try:
        file.write_bytes(mutant.of(source))
        return next(iter(failures(tree, "-x", *tests)), "")
    finally:
        file.write_bytes(source)
        trees.put(tree)


def table(drawn: list[Mutant], killers: dict[str, str]) -> str:
    """Return the survivors as a table in Markdown, each with what is known about it."""
    reasons = yaml.safe_load(REASONS.read_text(encoding="utf-8")) or {}
    alive = [mutant for mutant in drawn if not killers[str(mutant)]]
    equivalent = sum(reasons.get(str(mutant), "").startswith("Equivalent") for mutant in alive)
    rows = ["| line | change | why it lives |", "|---|---|---|"]
    for mutant in alive:
        change = str(mutant).removeprefix(f"{mutant.path}: ").replace("|", "\\|")
        why = reasons.get(str(mutant), "No test notices.")
        rows.append(f"| {mutant.path}:{mutant.line} | `{change}` | {why} |")
    numbers = f"{len(drawn) - len(alive)} of {len(drawn)} killed, {equivalent} equivalent"
    return "\n".join([f"{numbers}, {len(alive) - equivalent} survived.", "", *rows])


def main() -> None:
    """Judge the mutants of a seed, except those that an earlier run at this commit has judged."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {"count": 100, "seed": 0, "jobs": len(os.sched_getaffinity(0))}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    commit = subprocess.getoutput(f"git -C '{ROOT}' describe --always --dirty --abbrev=12")
    kept = ROOT / f"_build/mutation/{commit}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    killers = dict(map(json.loads, kept.read_text().splitlines() if kept.exists() else []))
    drawn = draw(options.count, options.seed, sources())
    fresh = [mutant for mutant in drawn if str(mutant) not in killers]
    tests = [nearest_tests(ROOT / mutant.path)[:FILES] for mutant in fresh]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for job in range(options.jobs):
            trees.put(copy_repository(Path(folder, str(job))))
        judged = pool.map(judge, fresh, tests, repeat(trees))
        for mutant, killer in zip(fresh, judged, strict=True):
            killers[str(mutant)] = killer
            print(killer or "ALIVE", mutant, sep="  <-  ", file=sys.stderr, flush=True)
            with kept.open("a") as out:
                print(json.dumps([str(mutant), killer]), file=out)
        named = {killer for killer in killers.values() if "::" in killer}
        red = failures(trees.get(), *sorted(named)) if named else []
    # What fails on the unbroken tree, too, proves nothing.
    killers = {mutant: "" if killer in red else killer for mutant, killer in killers.items()}
    print(f"Commit {commit}, seed {options.seed}: {table(drawn, killers)}")


if __name__ == "__main__":
    main()
