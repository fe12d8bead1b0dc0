"""Run tests and notebooks on other arithmetic, and name what moves: test or cell, and setting.

All tests run except those of the browser, not those alone that train: a decomposition, an order of
ties and a sum beside a stored number hang on the machine, too, and no marker would say so.
Notebooks keep their seeds, for which their outputs are stored, and their steps are computed anew:
the runs at the smallest scale are removed before each setting.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

FAULTS = {"failure", "error"}
ROOT = Path(__file__).resolve().parents[2]
IN_PARALLEL = ["-m", "not browser", "--dist", "loadfile", "--no-loadscope-reorder", "-n"]
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout", "600"]


class Setting(NamedTuple):
    """What differs from an ordinary run."""

    environment: dict[str, str]
    options: tuple[str, ...] = ()
    reverse: bool = False  # the order of files
    keeps_seeds: bool = True


def kernels(torch: str, mkl: str, onednn: str) -> Setting:
    """Hold torch, MKL and oneDNN back to what an older processor has.

    OpenBLAS keeps its own choice: some of its releases compute wrong results with another.
    """
    return Setting(
        {
            "ATEN_CPU_CAPABILITY": torch,
            "TORCH_COMPILE_CACHE_KEY_TAG": torch,  # or compiled code of other kernels is taken
            "MKL_CBWR": mkl,
            "ONEDNN_MAX_CPU_ISA": onednn,
        }
    )


SETTINGS = {
    "ordinary": Setting({}),
    "two threads": Setting({"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}),
    "AVX2 kernels": kernels("avx2", "AVX2", "AVX2"),
    "plain kernels": kernels("default", "COMPATIBLE", "SSE41"),
    "other order": Setting({"PYTHONHASHSEED": "1", "OKML_FILES_AS_GIVEN": "1"}, reverse=True),
    "other seeds": Setting(
        {"OKML_OTHER_SEEDS": "1000"}, ("--hypothesis-seed=1000",), keeps_seeds=False
    ),
}


def outcomes(setting: Setting, *arguments: str) -> dict[str, str]:
    """Run pytest and return what becomes of each test, or cell of a notebook."""
    with tempfile.TemporaryDirectory() as folder:
        report = f"{folder}/report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        fixed = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "TQDM_DISABLE": "1"}
        subprocess.run(
            [*command, f"--junit-xml={report}", *setting.options, *arguments],
            cwd=ROOT,
            env=os.environ | fixed | setting.environment,
            check=False,
        )
        return {
            f"{case.get('classname')}::{case.get('name')}": next(
                (child.tag for child in case if child.tag in FAULTS | {"skipped"}),
                "passed",
            )
            for case in ElementTree.parse(report).iter("testcase")
        }


def forget_steps() -> None:
    """Remove the runs at the smallest scale.

    The key of a kept step names neither kernels nor threads, so a notebook would show the steps of
    the setting before.
    """
    for folder in ROOT.glob("_build/runs/*/smoke"):
        shutil.rmtree(folder)


def moved(files: list[str], arguments: list[str], settings: dict[str, Setting]) -> list[str]:
    """Run all settings; return what fails or differs from the first, as the rows of a table.

    A test that skips itself, since a library has no kernel for a setting, does not move.
    """
    rows: list[str] = []
    ordinary: dict[str, str] = {}
    for name, setting in settings.items() if files else ():
        print(f"== {name}", flush=True)
        if "--nbval" in arguments:
            forget_steps()
        found = outcomes(setting, *arguments, *(files[::-1] if setting.reverse else files))
        ordinary = ordinary or found
        for case in sorted(ordinary | found):
            now = found.get(case, "missing")
            if now in FAULTS or now not in {ordinary.get(case), "skipped"}:
                rows.append(f"| {case} | {name} | {now} |")
    return rows


def listed(places: list[str], pattern: str) -> list[str]:
    """Return the files of a pattern in some folders; a file stands for itself."""
    found = {file for place in map(Path, places) for file in (place, *place.rglob(pattern))}
    return sorted(str(file) for file in found if file.match(pattern))


def main() -> int:
    """Print what moves in tests and notebooks; the exit code is 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="*", help="folders and files; by default all")
    parser.add_argument("--jobs", default="auto", help="workers of pytest-xdist")
    options = parser.parse_args()
    places = options.places or ["tests", "notebooks"]
    as_stored = {name: setting for name, setting in SETTINGS.items() if setting.keeps_seeds}
    rows = moved(listed(places, "test_*.py"), [*IN_PARALLEL, options.jobs], SETTINGS)
    rows += moved(listed(places, "*.ipynb"), NBVAL, as_stored)
    print("", "| test or cell | setting | outcome |", "|---|---|---|", *rows, sep="\n")
    print(f"\n{len(rows)} moved." if rows else "\nNothing moved.")
    return int(bool(rows))


if __name__ == "__main__":
    sys.exit(main())
