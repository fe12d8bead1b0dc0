"""The hardware and software of this machine, and the seeds of a run."""

from __future__ import annotations

import os
import platform
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from okml.accelerator import Gpu, gpus
from okml.errors import ParameterError
from okml.paths import repository_root

T = TypeVar("T")

GIB = 2**30
REPORTED_PACKAGES = ("okml", "torch", "transformers", "numpy", "scikit-learn", "polars")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Environment(BaseModel):
    """Hardware and package versions in a run record."""

    model_config = ConfigDict(frozen=True)

    python: str
    platform: str
    cpu: str
    cores: int
    memory_gib: float
    gpus: tuple[Gpu, ...]
    packages: dict[str, str]


class Commit(BaseModel):
    """The commit of a run, and whether tracked files differed from it."""

    model_config = ConfigDict(frozen=True)

    sha: str
    dirty: bool


def seed_everything(seed: int) -> np.random.Generator:
    """Seed Python, NumPy and torch, and return a NumPy generator with the same seed."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries still draw from the global state
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def allotted_cores() -> int:
    """Return the number of cores in this process's CPU affinity."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def usable_cores() -> int:
    """Return the number of cores this process may use: ``OMP_NUM_THREADS``, or its affinity."""
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(allotted_cores(), int(threads)) if threads.isdecimal() else allotted_cores()


def pick_dtype(name: str) -> torch.dtype:
    """Return the floating-point type called ``name``.

    Raises:
        ParameterError: If the name is not one of ``DTYPES``.
    """
    if name not in DTYPES:
        raise ParameterError(f"Unknown dtype {name!r}.", f"Known: {', '.join(DTYPES)}.")
    return DTYPES[name]


def environment() -> Environment:
    """Return the hardware of this machine and the versions of the packages behind results."""
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=usable_cores(),
        memory_gib=round(total_memory_gib(), 1),
        gpus=gpus(),
        packages={name: metadata.version(name) for name in REPORTED_PACKAGES},
    )


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def total_memory_gib() -> float:
    """Return the machine's memory in GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB


def free_disk_gib(folder: Path) -> float:
    """Return the free GiB of the file system of ``folder``, which need not exist yet."""
    return shutil.disk_usage(_first_that_exists(folder)).free / GIB


def used_disk_gib(folder: Path) -> float:
    """Return the size of a folder's files in GiB; 0 if it does not exist."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / GIB


def on_one_disk(one: Path, other: Path) -> bool:
    """Tell whether two folders, which need not exist yet, are on the same file system."""
    return _first_that_exists(one).stat().st_dev == _first_that_exists(other).stat().st_dev


def _first_that_exists(folder: Path) -> Path:
    return next(place for place in (folder, *folder.resolve().parents) if place.exists())


_with_workers = 0.0  # the largest sum of the peaks of this process and its workers, in GiB


def peak_memory_gib() -> float:
    """Return the peak resident memory of this process and its workers in GiB, without a GPU's.

    It is an upper bound: the peaks of workers that run at the same time are added, and pages that
    processes share count in each of them.
    """
    return max(process_peak_gib(), _with_workers)


def note_workers(peaks: Iterable[float]) -> None:
    """Add the memory of workers to :func:`peak_memory_gib`.

    Args:
        peaks: What :func:`process_peak_gib` was in each worker that ran at the same time.
    """
    global _with_workers
    _with_workers = max(_with_workers, process_peak_gib() + sum(peaks))


def process_peak_gib() -> float:
    """Return the peak resident memory of this process alone in GiB, without a GPU's."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / GIB if sys.platform == "darwin" else peak * 1024 / GIB


def commit() -> Commit:
    """Return the commit of the checkout and whether tracked files differ from it.

    Records do not count: a command that runs several chapters has written some when others end.
    """
    sha = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "-uno", "--", ":/", ":(top,exclude)results")
    return Commit(sha=sha or "unknown", dirty=bool(changed))


def commits_since(sha: str, path: str) -> int | None:
    """Return the number of commits to a path since a commit; None if Git does not know it."""
    count = _git("rev-list", "--count", f"{sha}..HEAD", "--", path)
    return int(count) if count else None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=repository_root(), capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def show_progress() -> bool:
    """Tell whether stderr is a terminal and progress bars are not disabled."""
    silenced = os.environ.get("CI") or os.environ.get("TQDM_DISABLE")
    return sys.stderr.isatty() and not silenced


def progress(iterable: Iterable[T], desc: str, total: int | None = None) -> Iterable[T]:
    """Wrap ``iterable`` in a text progress bar if :func:`show_progress` holds."""
    return tqdm(iterable, desc=desc, total=total, disable=not show_progress(), leave=False)
