"""An estimate of the remaining time of a run, from measured times.

A future step takes as long as when it last finished in this folder; the current step is estimated
from that time, or from its share of finished trainings. Without an earlier run, the estimate is
the rest of the profile's budget, and once that is spent, the rest of the current trainings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Event = Mapping[str, Any]
Events = Sequence[Event]


@dataclass(frozen=True)
class TrainingProgress:
    """A current training.

    Attributes:
        arm: The name of the training.
        seed: The seed of the training.
        epoch: The epoch at its last event.
        share: The share of its steps that are done; None without a limit of steps.
        loss: The last logged loss; None if none was logged.
        seconds: The time since it started or resumed.
        left: The estimated seconds left; None if the pace or the limit of steps is unknown.
    """

    arm: str
    seed: int
    epoch: float
    share: float | None
    loss: float | None
    seconds: float
    left: float | None


@dataclass(frozen=True)
class TimeLeft:
    """The estimated seconds, and the basis of the estimate."""

    seconds: float
    follows_from: str


def moment(event: Event) -> float:
    """Return the time of an event in seconds."""
    return dt.datetime.fromisoformat(event["time"]).timestamp()


def trainings(run: Events, now: float) -> Iterator[TrainingProgress]:
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
        yield TrainingProgress(arm, seed, last["epoch"], share, loss, spent, left)


def step_under_way(run: Events) -> Event | None:
    """Return the event that started the current step; None between steps."""
    found = [event for event in run if event["event"] in ("step started", "step finished")]
    return found[-1] if found and found[-1]["event"] == "step started" else None


def time_left(before: Events, run: Events, now: float) -> TimeLeft | None:
    """Return the remaining time of a run; None if it cannot be estimated.

    Args:
        before: The events of earlier runs of the folder.
        run: The events of this run, from its start.
        now: The current Unix time in seconds.
    """
    took = {event["step"]: event for event in before if event["event"] == "step finished"}
    done = {e["step"] for e in run if e["event"] in ("step finished", "step kept")}
    started = step_under_way(run)
    current = started and started["step"]
    to_come = [name for name in run[0]["steps"] if name not in done and name != current]
    under_way = _of_step(run, started, took, now) if started else TimeLeft(0.0, "")
    if under_way is not None and all(name in took for name in to_come):
        reasons = [under_way.follows_from, earlier(took[name] for name in to_come)]
        seconds = under_way.seconds + sum(took[name]["seconds"] for name in to_come)
        return TimeLeft(seconds, " and ".join(dict.fromkeys(filter(None, reasons))))
    budget = run[0]["budget_minutes"] * 60 - (now - moment(run[0]))
    if budget > 0:
        return TimeLeft(budget, "the budget of the profile")
    paces = [training.left for training in trainings(run, now) if training.left is not None]
    return TimeLeft(max(paces), "the trainings under way alone") if paces else None


def earlier(finished: Iterable[Event]) -> str:
    """Return the days on which steps finished as text; empty for no step."""
    days = sorted({event["time"][:10] for event in finished})
    return f"what steps took on {', '.join(days)}" if days else ""


def _of_step(run: Events, started: Event, took: Mapping[str, Event], now: float) -> TimeLeft | None:
    """Return the remaining time of the current step; None if it cannot be estimated."""
    step, spent = started["step"], now - moment(started)
    if step in took and spent < took[step]["seconds"]:
        return TimeLeft(took[step]["seconds"] - spent, earlier([took[step]]))
    jobs = [e for e in run if e["event"] == "jobs" and e.get("step") == step]
    if jobs and jobs[-1]["done"] < jobs[-1]["of"]:
        done, of = jobs[-1]["done"], jobs[-1]["of"]
        return TimeLeft(spent * (of - done) / done, f"{done} of {of} trainings")
    return None
