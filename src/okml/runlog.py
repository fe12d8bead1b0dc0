"""The log of a run, in its folder: ``run.log`` for people, ``events.jsonl`` for programs.

All processes of a run append to both, one line with one system call, so that lines are never
interleaved and a killed process leaves at most one unfinished line. A line of ``events.jsonl`` is
a JSON object with ``time`` (UTC), ``event`` and those of ``step``, ``arm``, ``seed``, ``epoch``,
``loss``, ``seconds`` (of the step or the training so far), ``memory_gib`` (resident, of the
process), ``device`` and ``device_memory_gib`` (peak allocation of torch) that apply.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

EVENTS = "events.jsonl"
LOG = "run.log"
LONGEST_TEXT = 500  # characters; longer texts are truncated
GIB = 2**30
Name = Literal[
    "run started", "run finished",
    "step started", "step kept", "step finished", "step failed",
    "jobs",
    "training started", "epoch", "progress", "checkpoint", "training finished", "training stopped",
]  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The folder for this process's events, and the step that they belong to."""

    folder: Path
    step: str | None = None


_place: Place | None = None
_echo: Callable[[str], object] | None = None


def place() -> Place | None:
    """Return the current place of events, to be passed to a child process."""
    return _place


def write_to(where: Place | Path | None) -> None:
    """Set the folder for this process's events; None disables the log."""
    global _place
    _place = Place(where) if isinstance(where, Path) else where


def echo(show: Callable[[str], object]) -> None:
    """Pass lines about the run and its steps to a function as well."""
    global _echo
    _echo = show


def event(name: Name, **details: Any) -> None:
    """Append an event; errors of the disk are ignored, since the run matters more."""
    if _place is None:
        return
    moment = dt.datetime.now(dt.UTC)
    step = {"step": _place.step} if _place.step else {}
    values = {
        "time": moment.isoformat(timespec="milliseconds"),
        "event": name,
        **step,
        **{key: _short(value) for key, value in details.items() if value is not None},
        "memory_gib": round(psutil.Process().memory_info().rss / GIB, 3),
        "pid": os.getpid(),
    }
    line = f"{moment:%Y-%m-%d %H:%M:%S}Z  {sentence(values)}"
    with suppress(OSError):
        _append(_place.folder / EVENTS, json.dumps(values, ensure_ascii=False))
        _append(_place.folder / LOG, line)
    if _echo is not None and name.startswith(("run", "step")):
        _echo(line)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Log the start and end of a step, to which events inside belong."""
    global _place
    outside = _place
    if outside is not None:
        _place = Place(outside.folder, name)
    started = time.monotonic()
    event("step started")
    try:
        yield
        event("step finished", seconds=time.monotonic() - started)
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}".strip().rstrip(":")
        event("step failed", seconds=time.monotonic() - started, problem=problem)
        raise
    finally:
        _place = outside


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Return the events of all runs of a folder in order of time; skip invalid lines."""
    events = []
    for line in lines_of(folder / EVENTS):
        with suppress(ValueError, RecursionError):
            events.append(json.loads(line))
    whole = [event for event in events if isinstance(event, dict) and {"time", "event"} <= {*event}]
    return sorted(whole, key=lambda event: str(event["time"]))


def last_lines(folder: Path, number: int) -> list[str]:
    """Return the last lines of ``run.log``."""
    lines = lines_of(folder / LOG)
    return lines[max(len(lines) - number, 0) :]


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file, whatever its bytes; none if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def sentence(values: Mapping[str, Any]) -> str:
    """Return an event as a sentence, without its time."""
    arm, seed, step = values.get("arm"), values.get("seed"), values.get("step")
    who = ", ".join(filter(None, [arm or step, None if seed is None else f"seed {seed}"]))
    what = _SENTENCES[values["event"]](values)
    return f"{who}: {what}" if who else what


def _epoch(values: Mapping[str, Any]) -> str:
    done, of = values["training_step"], values["training_steps"]
    share = f" ({done / of:.0%})" if of else ""
    return f"epoch {values['epoch']:.4g}{share}"


def _measured(values: Mapping[str, Any]) -> str:
    """Return a training's epoch, its measured numbers and its duration as text."""
    numbers = [
        f"{name} {value:.4g}"
        for name, value in values.items()
        if isinstance(value, float) and name not in NOT_MEASURED
    ]
    return ", ".join([_epoch(values), *numbers, f"after {duration(values['seconds'])}"])


NOT_MEASURED = {"epoch", "seconds", "memory_gib", "device_memory_gib"}
_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "run started": lambda v: f"{v['chapter']} at {v['profile']} starts on {v['device']}",
    "run finished": lambda v: "the run is finished and recorded",
    "step started": lambda v: "starts",
    "step kept": lambda v: f"kept; it took {duration(v['seconds'])}",
    "step finished": lambda v: f"finished in {duration(v['seconds'])}",
    "step failed": lambda v: f"ended after {duration(v['seconds'])} by {v['problem']}",
    "jobs": lambda v: f"{v['done']} of {v['of']} trainings are done",
    "training started": lambda v: (
        f"goes on after {_epoch(v)}" if v["training_step"] else "starts to train"
    ),
    "epoch": _measured,
    "progress": _measured,
    "checkpoint": lambda v: f"checkpoint at {_epoch(v)}",
    "training finished": lambda v: (
        f"finished by {v['reason']} at {_epoch(v)}, after {duration(v['seconds'])}"
    ),
    "training stopped": lambda v: f"stopped and saved at {_epoch(v)}",
}


def duration(seconds: float) -> str:
    """Format a duration: 8.1 s, 12 min, 5 h 20 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value[:LONGEST_TEXT] if isinstance(value, str) else value


def _append(path: Path, line: str) -> None:
    """Append a line with one write, after a line break if the last line is unfinished."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # another process's line must be complete
        size = os.fstat(handle).st_size
        torn = size and os.pread(handle, 1, size - 1) != b"\n"
        text = line.replace("\n", " ") + "\n"
        os.write(handle, (("\n" if torn else "") + text).encode())
    finally:
        os.close(handle)
