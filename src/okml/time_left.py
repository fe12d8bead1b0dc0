"""How long a run will still take, by what was measured.

A step to come takes what it took when it last finished in this folder. The step under way has left
what it then took, or its share of trainings. Where no earlier run tells, the profile's budget does,
and past that the trainings under way, which may not be the last.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Event = Mapping[str, Any]
Events = Sequence[Event]


@dataclass(frozen=True)
class Training:
    """A training under way.

    Attributes:
        arm: What is trained.
        seed: Of the training.
        epoch: Reached, as of its last word.
        share: Of its steps that are done; None: it ends by time or early, no one knows when.
        loss: The last that was logged.
        seconds: Since it started or went on.
        left: Seconds, at its pace so far; None where that is not known.
    """

    arm: str
    seed: int
    epoch: float
    share: float | None
    loss: float | None
    seconds: float
    left: float | None


@dataclass(frozen=True)
class Left:
    """Seconds, and what they follow from."""

    seconds: float
    follows_from: str


def moment(event: Event) -> float:
    """Return the time of an event in seconds."""
    return dt.datetime.fromisoformat(event["time"]).timestamp()


def trainings(run: Events, now: float) -> Iterator[Training]:
    """Yield the trainings of a run that have started and not ended."""
    of_each: dict[tuple[str, int], list[Event]] = {}
    for event in run:
        if "arm" in event:
            of_each.setdefault((event["arm"], event["seed"]), []).append(event)
    for (arm, seed), events in of_each.items():
        starts = [n for n, event in enumerate(events) if event["event"] == "training started"]
        if not starts or events[-1]["event"] in ("training finished", "training stopped"):
            continue
        first, last = events[starts[-1]], events[-1]
        losses = [e["loss"] for e in events[starts[-1] :] if isinstance(e.get("loss"), float)]
        of, begun = last["training_steps"], first["training_step"]
        spent, taken = now - moment(first), last["training_step"] - begun
        pace = (moment(last) - moment(first)) / taken if taken else None
        left = max(pace * (of - begun) - spent, 0.0) if pace is not None and of else None
        share = last["training_step"] / of if of else None
        loss = losses[-1] if losses else None
        yield Training(arm, seed, last["epoch"], share, loss, spent, left)


def step_under_way(run: Events) -> Event | None:
    """Return the event by which the step under way started."""
    started = None
    for event in run:
        if event["event"] == "step started":
            started = event
        elif event["event"] == "step finished":
            started = None
    return started


def time_left(before: Events, run: Events, now: float) -> Left | None:
    """Return what a run has left; None where nothing tells.

    Args:
        before: The events of earlier runs of the folder.
        run: Those of this one, from its start.
        now: The time in seconds.
    """
    took = {event["step"]: event for event in before if event["event"] == "step finished"}
    done = {e["step"] for e in run if e["event"] in ("step finished", "step kept")}
    started = step_under_way(run)
    current = started and started["step"]
    to_come = [name for name in run[0]["steps"] if name not in done and name != current]
    under_way = _of_step(run, started, took, now) if started else Left(0.0, "")
    if under_way is not None and all(name in took for name in to_come):
        reasons = [under_way.follows_from, earlier(took[name] for name in to_come)]
        seconds = under_way.seconds + sum(took[name]["seconds"] for name in to_come)
        return Left(seconds, " and ".join(dict.fromkeys(filter(None, reasons))))
    budget = run[0]["budget_minutes"] * 60 - (now - moment(run[0]))
    if budget > 0:
        return Left(budget, "the budget of the profile")
    paces = [training.left for training in trainings(run, now) if training.left is not None]
    return Left(max(paces), "the trainings under way alone") if paces else None


def earlier(finished: Iterable[Event]) -> str:
    """Say on which days steps finished; empty for no step."""
    days = sorted({event["time"][:10] for event in finished})
    return f"what steps took on {', '.join(days)}" if days else ""


def _of_step(run: Events, started: Event, took: Mapping[str, Event], now: float) -> Left | None:
    """Return what the step under way has left; a training under way may not be its last."""
    step, spent = started["step"], now - moment(started)
    if step in took and spent < took[step]["seconds"]:
        return Left(took[step]["seconds"] - spent, earlier([took[step]]))
    jobs = [e for e in run if e["event"] == "jobs" and e.get("step") == step]
    if jobs and jobs[-1]["done"] < jobs[-1]["of"]:
        done, of = jobs[-1]["done"], jobs[-1]["of"]
        return Left(spent * (of - done) / done, f"{done} of {of} trainings")
    return None
