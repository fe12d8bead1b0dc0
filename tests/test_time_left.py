"""The time that a run has left, worked out by hand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from okml.time_left import step_under_way, time_left, trainings

START = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
NOW = START.timestamp()
RUN = {"event": "run started", "steps": ["data", "training", "figures"], "budget_minutes": 10.0}


def at(when: float, event: str, **values: Any) -> dict[str, Any]:
    time = START + dt.timedelta(seconds=when)
    return {"time": time.isoformat(timespec="milliseconds"), "event": event, **values}


def training(when: float, event: str, number: int, of: int = 100, arm: str = "a", **values: Any):
    values |= {"training_step": number, "training_steps": of, "epoch": number / 10}
    return at(when, event, step="training", arm=arm, seed=0, **values)


def started(when: float) -> dict[str, Any]:
    return {**at(when, "run started"), **RUN}


EARLIER = [
    {**at(-86_400, "step finished", step="data"), "seconds": 20.0},
    {**at(-86_300, "step finished", step="training"), "seconds": 100.0},
    {**at(-86_200, "step finished", step="figures"), "seconds": 30.0},
]
IN_TRAINING = [
    started(-60),
    at(-60, "step started", step="data"),
    at(-40, "step finished", step="data", seconds=20.0),
    at(-40, "step started", step="training"),
]


def test_earlier_seconds_of_the_steps_to_come_and_the_rest_of_this_one():
    left = time_left(EARLIER, IN_TRAINING, NOW)
    assert left is not None
    assert left.seconds == pytest.approx(100 - 40 + 30)
    assert left.follows_from == "what steps took on 2026-03-01"


def test_kept_steps_take_no_time():
    run = [started(-5), at(-5, "step kept", step="data", seconds=20.0),
           at(-4, "step kept", step="figures", seconds=30.0)]  # fmt: skip
    left = time_left(EARLIER, run, NOW)
    assert left is not None
    assert left.seconds == pytest.approx(100)


def test_past_its_earlier_seconds_a_step_goes_by_its_trainings():
    run = [*IN_TRAINING[:3], at(-200, "step started", step="training"),
           at(-50, "jobs", step="training", done=8, of=10)]  # fmt: skip
    left = time_left(EARLIER, run, NOW)
    assert left is not None
    assert left.seconds == pytest.approx(200 * 2 / 8 + 30)
    assert left.follows_from == "8 of 10 trainings and what steps took on 2026-03-01"


def test_a_training_goes_on_at_its_pace():
    """It was at step 40 when it went on 30 s ago, and is at step 50 since 10 s."""
    run = [*IN_TRAINING, training(-30, "training started", 40),
           training(-10, "epoch", 50, loss=0.5), training(-10, "checkpoint", 50)]  # fmt: skip
    (found,) = trainings(run, NOW)
    assert (found.arm, found.seed, found.epoch, found.loss) == ("a", 0, 5.0, 0.5)
    assert found.share == 0.5
    assert found.seconds == pytest.approx(30)
    assert found.left == pytest.approx(20 / 10 * 60 - 30)


def test_trainings_that_have_ended_are_not_under_way():
    run = [training(-30, "training started", 0), training(-20, "training finished", 100),
           training(-30, "training started", 0, arm="b"),
           training(-20, "training stopped", 7, arm="b"),
           training(-9, "training started", 7, arm="b")]  # fmt: skip
    (found,) = trainings(run, NOW)
    assert found.arm == "b"
    assert found.left is None  # nothing measured yet


def test_a_training_without_a_last_step_has_no_end():
    run = [training(-30, "training started", 0, of=0), training(-20, "epoch", 50, of=0)]
    (found,) = trainings(run, NOW)
    assert (found.share, found.left) == (None, None)


def test_the_first_run_goes_by_the_budget_of_its_profile():
    left = time_left([], IN_TRAINING, NOW)
    assert left is not None
    assert left.seconds == pytest.approx(600 - 60)
    assert left.follows_from == "the budget of the profile"


def test_past_its_budget_only_what_is_under_way_is_known():
    late = [{**event, "time": at(-7000, "")["time"]} for event in IN_TRAINING]
    assert time_left([], late, NOW) is None
    run = [*late, training(-30, "training started", 0), training(-10, "epoch", 50)]
    left = time_left([], run, NOW)
    assert left is not None
    assert left.seconds == pytest.approx(20 / 50 * 100 - 30)
    assert left.follows_from == "the trainings under way alone"


def test_the_step_under_way():
    assert step_under_way(IN_TRAINING) == IN_TRAINING[-1]
    assert step_under_way(IN_TRAINING[:3]) is None
