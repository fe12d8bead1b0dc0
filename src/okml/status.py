"""The status of runs, from the logs and locks in their folders."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from okml import runlog
from okml.errors import RecordError
from okml.locks import Holder, holder
from okml.paths import build_dir, is_folder
from okml.runlog import duration
from okml.settings import Frozen
from okml.time_left import (
    TimeLeft,
    TrainingProgress,
    moment,
    step_under_way,
    time_left,
    trainings,
)

ELSEWHERE = "elsewhere"  # file in a chapter's folder of runs: the other run folders, one a line
STOPS = ("KeyboardInterrupt", "SystemExit")
State = Literal["running", "finished", "failed", "stopped"]


class Status(Frozen):
    """The status of the last run of a folder."""

    chapter: str
    profile: str
    folder: str
    state: State
    by: Holder | None  # the process that runs
    started: str  # UTC, ISO 8601
    seconds: float  # time from the start to now, or to the last event
    done: tuple[str, ...]  # steps that are finished or kept
    steps: tuple[str, ...]  # all steps
    step: str | None  # the current step, or the one in which the run ended
    problem: str | None
    trainings: tuple[TrainingProgress, ...]  # the current trainings
    left: TimeLeft | None
    last: tuple[str, ...]  # last lines of the log


def statuses(chapters: Iterable[str], lines: int) -> list[Status]:
    """Return the status of each folder in which some chapters have run, the latest start last.

    Each has so many of the last lines of its log.
    """
    found = (status(folder, lines) for name in chapters for folder in folders(name))
    return sorted(filter(None, found), key=lambda status: status.started)


def folders(chapter: str) -> list[Path]:
    """Return the folders in which a chapter has run."""
    root = build_dir() / "runs" / chapter
    usual = [path.parent for path in sorted(root.glob(f"*/{runlog.EVENTS}"))]
    others = [Path(line) for line in runlog.lines_of(root / ELSEWHERE) if is_folder(line)]
    noted = [folder for folder in others if (folder / runlog.EVENTS).is_file()]
    return list(dict.fromkeys([*usual, *noted]))


def note_folder(chapter: str, folder: Path) -> None:
    """List a run folder outside the default place for ``okml status``."""
    root = build_dir() / "runs" / chapter
    folder = folder.resolve()
    if folder.parent != root.resolve() and folder not in folders(chapter):
        root.mkdir(parents=True, exist_ok=True)
        with (root / ELSEWHERE).open("a", encoding="utf-8") as file:
            file.write(f"{folder}\n")


def status(folder: Path, lines: int = 3) -> Status | None:
    """Return the status of a run's folder; None without a run.

    Raises:
        RecordError: If its events were changed.
    """
    try:
        return _status(folder, lines)
    except (LookupError, TypeError, ValueError) as error:
        raise RecordError(
            f"{folder / runlog.EVENTS} was changed: an event lacks {error}.", "Remove the file."
        ) from None


def _status(folder: Path, lines: int) -> Status | None:
    events = runlog.read_events(folder)
    starts = [number for number, event in enumerate(events) if event["event"] == "run started"]
    if not starts:
        return None
    before, run = events[: starts[-1]], events[starts[-1] :]
    by, now, started = holder(folder), time.time(), step_under_way(run)
    failed = [event["problem"] for event in run if event["event"] == "step failed"]
    problem = failed[-1] if failed else None
    state: State = "failed"
    if any(event["event"] == "run finished" for event in run):
        state = "finished"
    elif by is not None:
        state = "running"
    elif problem is None or problem.startswith(STOPS):
        state = "stopped"
    running = state == "running"
    done = {e["step"]: None for e in run if e["event"] in ("step finished", "step kept")}
    return Status(
        chapter=run[0]["chapter"],
        profile=run[0]["profile"],
        folder=str(folder),
        state=state,
        by=by,
        started=run[0]["time"],
        seconds=(now if running else moment(run[-1])) - moment(run[0]),
        done=tuple(done),
        steps=tuple(run[0]["steps"]),
        step=started["step"] if started else None,
        problem=problem if state == "failed" else None,
        trainings=tuple(trainings(run, now)) if running else (),
        left=time_left(before, run, now) if running else None,
        last=tuple(runlog.last_lines(folder, lines)),
    )


def status_lines(status: Status) -> Iterator[str]:
    """Yield a status as text: one line, and indented lines below it."""
    yield f"{status.chapter}  {status.profile}  {_said(status)}"
    below = [status.folder]
    if status.state == "running" and status.by is not None:
        below.append(str(status.by))
    below += [_training(training) for training in status.trainings]
    if status.problem is not None:
        below.append(status.problem)
    if status.state in ("failed", "stopped"):
        below.append("The same command goes on where it was.")
    yield from (f"    {line}" for line in (*below, *status.last))


def _said(status: Status) -> str:
    day = f"{status.started[:16].replace('T', ' ')}Z"
    took = duration(status.seconds)
    if status.state == "finished":
        return f"finished, started {day}, took {took}"
    where = f"{len(status.done)} of {len(status.steps)} steps done"
    if status.step is not None:
        where += f", in {status.step}"
    if status.state != "running":
        return f"{status.state} after {took}, started {day}; {where}"
    left = status.left
    about = f"; about {duration(left.seconds)} left, by {left.follows_from}" if left else ""
    return f"running for {took}, {where}{about}"


def one_line(status: Status) -> str:
    """Return the status of a running run in one line: step, trainings and time left."""
    what = [status.step or "between steps", *map(_training, status.trainings[:2])]
    more = len(status.trainings) - 2
    if more > 0:
        what.append(f"{more} more")
    if status.left is not None:
        what.append(f"about {duration(status.left.seconds)} left")
    return f"{status.chapter} {status.profile}: " + " · ".join(what)


def _training(training: TrainingProgress) -> str:
    parts = [f"{training.arm}, seed {training.seed}: epoch {training.epoch:.4g}"]
    if training.share is not None:
        parts[0] += f" ({training.share:.0%})"
    if training.loss is not None:
        parts.append(f"loss {training.loss:.4g}")
    if training.left is not None:
        parts.append(f"about {duration(training.left)} left")
    return ", ".join(parts)
