"""Steps: the parts of an experiment, each kept on disk as soon as it is done.

A killed run resumes after its last finished step, and a notebook reuses the steps of an earlier
command-line run. A kept step is used only for the same settings, inputs and code.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec

import polars as pl
from pydantic import TypeAdapter

from okml import runlog
from okml.code_key import full_name
from okml.data import fetched_from
from okml.kept import KeptResult, Needs, adopted, describe, load, needs_of, save
from okml.ledger import DataUsed, Measurements, Run, RunRecord
from okml.profile import Profile

MEASUREMENTS = TypeAdapter(Measurements)  # converts to and from JSON
QUIET_S = 1.0  # shorter work is not announced, such as loading a kept training

Given = ParamSpec("Given")


@dataclass
class StepResult(Measurements):
    """The measurements of a step and the rows behind its figures."""

    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    data: dict[str, DataUsed] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def files_used(name: str, files: Iterable[str] | None = None) -> dict[str, DataUsed]:
    """Return files of an entry of the catalog, with source and hash, as a record lists them.

    Args:
        name: The name of the entry.
        files: Some of its files; without them all.

    Raises:
        DataError: If one of them cannot be had.
    """
    return {
        f"{name}/{file}": DataUsed(source=used.source, sha256=used.sha256)
        for file, used in fetched_from(name, files).items()
    }


class Steps:
    """Runs the steps of one experiment and keeps their results in ``run_dir/steps``.

    Args:
        profile: The settings; part of the key of every kept step.
        run_dir: The working folder of the run.
        device: The name of the run's device; part of the key of every kept step.
    """

    def __init__(self, profile: Profile, run_dir: Path, device: str) -> None:
        self.profile = profile
        self.run_dir = run_dir
        self.device = device
        self.results: dict[str, StepResult] = {}
        self._any_kept = False
        self._run = Run(profile, device)

    def __call__(
        self,
        name: str,
        compute: Callable[Given, StepResult],
        *given: Given.args,
        **named: Given.kwargs,
    ) -> StepResult:
        """Return the result of the step called ``name``, computing it only if it is not kept.

        Args:
            name: The name of the step.
            compute: A function of a module of okml. The code that it can reach is part of the
                key, and so are its arguments.
            given: The positional arguments: the study, and numbers, texts or frames of other
                steps.
            named: The keyword arguments, of the same types.

        Raises:
            TypeError: If ``compute`` is not found by its name, or an argument has another type.
        """
        if name not in self.results:
            folder = self.run_dir / "steps" / name
            needs = self._needs(compute, (given, named))
            kept = load(folder, needs)
            if kept is None:
                with runlog.step(name):
                    started = time.perf_counter()
                    result = compute(*given, **named)
                    result.seconds = time.perf_counter() - started
                    _stamp(result, self._run)
                    kept = save(folder, needs, _content(result), result.frames)
            else:
                self._any_kept = True
                runlog.event("step kept", step=name, seconds=kept.content["seconds"])
            self.results[name] = _result(kept)
        return self.results[name]

    def is_kept(self, name: str, compute: Callable[..., StepResult], *given: object) -> bool:
        """Return whether the result of a step is kept; arguments as in the call."""
        return load(self.run_dir / "steps" / name, self._needs(compute, (given, {}))) is not None

    def _needs(self, compute: Callable[..., StepResult], given: Any) -> Needs:
        inputs, classes = describe(given, self.profile)
        try:
            return needs_of(self.profile, (full_name(compute), *classes), self.device, inputs)
        except KeyError as error:
            raise TypeError(f"{error} is no function of a module of okml.") from None

    def record(self, tables: Mapping[str, pl.DataFrame]) -> RunRecord:
        """Return the record of all steps so far.

        Args:
            tables: The small frames that the site draws without the run; they are committed.
        """
        run = copy.deepcopy(self._run)  # so that the method can be called again
        for result in self.results.values():
            run.take(result)
            run.data |= result.data
            run.notes += result.notes
        run.note_adopted(adopted(self.profile, self.run_dir, self.device))
        if self._any_kept:
            run.include_peak_of_earlier_run(self.run_dir)
        for table, frame in tables.items():
            run.table(table, frame.to_dict(as_series=False))
        seconds = sum(result.seconds for result in self.results.values())
        return run.record(seconds)


def _stamp(result: StepResult, run: Run) -> None:
    """Add the start time and the claims of the run to a step's result.

    Parts that an earlier run has kept retain their own time and claims.
    """
    result.started = min(result.started or run.started, run.started)
    result.claims = {**run.claims, **result.claims}


def _content(result: StepResult) -> dict[str, Any]:
    """Return all values except the frames, as JSON values."""
    return {
        "seconds": result.seconds,
        "measurements": MEASUREMENTS.dump_python(
            Measurements(
                result.metrics, result.differences, result.started, result.claims_measured()
            ),
            mode="json",
        ),
        "data": {name: used.model_dump() for name, used in result.data.items()},
        "notes": result.notes,
    }


def _result(kept: KeptResult) -> StepResult:
    content = kept.content
    return StepResult(
        **vars(MEASUREMENTS.validate_python(content["measurements"])),
        frames=kept.frames,
        data={name: DataUsed(**used) for name, used in content["data"].items()},
        notes=content["notes"],
        seconds=content["seconds"],
    )


@contextmanager
def announced(title: str) -> Iterator[None]:
    """Print a title and the duration of a block that takes longer than ``QUIET_S``."""
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
