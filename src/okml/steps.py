"""Steps: the parts of an experiment, each kept on disk as soon as it is done.

A killed run starts again where it stopped, and a notebook started after a command-line run shows
its results instead of computing them again. A kept step is used only for the same settings and
the same code, so nothing stale is shown.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from okml import runlog
from okml.chapters import CHAPTERS
from okml.ledger import DataUsed, Measurements, Run, RunRecord
from okml.paths import atomic_write
from okml.profile import Profile

NOT_PART_OF_RESULTS = (
    "site", "cli.py", "notebooks.py", "benchmark.py", "resources.py", "lifeline.py", "locks.py",
    "runlog.py", "status.py", "kernels.py", "warm.py", "warm_server.py",
)  # fmt: skip
DRAWING = {"plotting.py", "tables.py", "figures"}
MEASUREMENTS = TypeAdapter(Measurements)  # to and from JSON
QUIET_S = 1.0  # what ends sooner is not worth a line, such as a training that was kept


@dataclass
class StepResult(Measurements):
    """What a step measured and the rows behind its figures."""

    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    data: dict[str, DataUsed] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


@cache
def code_hash(chapter: str, pictures: bool = False) -> str:
    """Return the SHA-256 of the sources that can change the results of ``chapter``.

    Args:
        chapter: Other chapters' packages do not count.
        pictures: Count the sources of figures too: they change what a notebook shows, but no
            result.
    """
    root = Path(__file__).parent
    left_out = {*NOT_PART_OF_RESULTS, *CHAPTERS} - {chapter}
    drawing = set() if pictures else DRAWING
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if parts[0] not in left_out and not drawing.intersection(parts):
            digest.update("/".join(parts).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def trainings_folder(profile: Profile, run_dir: Path) -> Path:
    """Return the folder of ``run_dir`` for trainings of these settings by this code.

    Those of others are of no use, and not in the way.
    """
    key = f"{code_hash(profile.chapter)[:12]}-{profile.fingerprint()[:12]}"
    return run_dir / "training" / key


class Steps:
    """Runs the steps of one experiment and keeps their results in ``run_dir/steps``.

    Args:
        profile: The settings; part of the key of every kept step.
        run_dir: The working folder of the run.
        device: Where the run computes; part of the record.
    """

    def __init__(self, profile: Profile, run_dir: Path, device: str) -> None:
        self.profile = profile
        self.run_dir = run_dir
        self.device = device
        self.results: dict[str, StepResult] = {}
        self._run = Run(profile, device)

    def __call__(self, name: str, compute: Callable[[], StepResult]) -> StepResult:
        """Return the result of the step called ``name``, computing it only if it is not kept."""
        if name not in self.results:
            folder = self.run_dir / "steps" / name
            kept = _load(folder, self._key(name))
            if kept is None:
                with runlog.step(name):
                    started = time.perf_counter()
                    kept = compute()
                    kept.seconds = time.perf_counter() - started
                    _save(folder, self._key(name), kept)
            else:
                runlog.event("step kept", step=name, seconds=kept.seconds)
            self.results[name] = kept
        return self.results[name]

    def record(self, tables: Mapping[str, pl.DataFrame]) -> RunRecord:
        """Return the record of all steps so far.

        Args:
            tables: Rows that the site draws later without the run: small, they are committed.
        """
        run = copy.deepcopy(self._run)  # so that a record can be asked for again
        for result in self.results.values():
            run.take(result)
            run.used(result.data)
            for note in result.notes:
                run.note(note)
        for table, frame in tables.items():
            run.table(table, frame.to_dict(as_series=False))
        seconds = sum(result.seconds for result in self.results.values())
        return run.record(seconds)

    def _key(self, name: str) -> str:
        parts = (name, self.profile.fingerprint(), code_hash(self.profile.chapter), self.device)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _save(folder: Path, key: str, result: StepResult) -> None:
    """Write the frames, then the list of them: a step without its list does not count."""
    for name, frame in result.frames.items():
        with atomic_write(folder / f"{name}.parquet", "wb") as handle:
            frame.write_parquet(handle)
    listing = {
        "key": key,
        "seconds": result.seconds,
        "measurements": MEASUREMENTS.dump_python(
            Measurements(result.metrics, result.differences), mode="json"
        ),
        "frames": sorted(result.frames),
        "data": {name: used.model_dump() for name, used in result.data.items()},
        "notes": result.notes,
    }
    with atomic_write(folder / "step.json") as handle:
        json.dump(listing, handle, ensure_ascii=False, indent=1)


def _load(folder: Path, key: str) -> StepResult | None:
    try:
        listing: dict[str, Any] = json.loads((folder / "step.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    if listing["key"] != key:
        return None
    return StepResult(
        **vars(MEASUREMENTS.validate_python(listing["measurements"])),
        frames={name: pl.read_parquet(folder / f"{name}.parquet") for name in listing["frames"]},
        data={name: DataUsed(**used) for name, used in listing["data"].items()},
        notes=listing["notes"],
        seconds=listing["seconds"],
    )


@contextmanager
def announced(title: str) -> Iterator[None]:
    """Print what goes on and how long it took; nothing if it ends at once."""
    said = threading.Event()

    def say() -> None:
        print(f"{title} …", flush=True)
        said.set()

    started = time.perf_counter()
    timer = threading.Timer(QUIET_S, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
    if said.is_set():
        print(f"{title}: {time.perf_counter() - started:.1f} s", flush=True)
