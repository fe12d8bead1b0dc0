"""When the distance of students counts as level, against curves whose fall is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from okml.add.comparison import Jackknife
from okml.add.convergence import (
    AVERAGED,
    PLAIN,
    distances,
    last_fall,
    still_falling,
    still_falling_in_any,
)
from okml.add.profile_settings import ProgressiveSettings
from okml.ledger import Measurements
from okml.training import History

STEPS = 1000


def training(fall: float, start: float = 2.0, points: int = 10, column: str = AVERAGED) -> History:
    """Return a training whose distance falls by so much in a tenth of its updates."""
    steps = np.linspace(STEPS / points, STEPS, points)
    values = start - fall * steps / (0.1 * STEPS)
    frame = pl.DataFrame({"step": steps.astype(int), column: values, "loss": 0.0})
    between = pl.DataFrame({"step": [STEPS // 2 + 1], column: [None], "loss": [1.0]})
    return History(
        pl.concat([frame, between], how="vertical_relaxed").sort("step"), STEPS, "max_steps"
    )


def test_the_fall_is_that_of_the_line_over_its_mean():
    # Points at 700, 800, 900 and 1000: their mean is the value at 850.
    assert last_fall([training(0.05)]) == pytest.approx(0.05 / (2 - 0.05 * 8.5))
    both = [training(0.05), training(-0.02, start=1.0)]
    assert last_fall(both) == pytest.approx(0.03 / (2 - 0.05 * 8.5 + 1 + 0.02 * 8.5))


@pytest.mark.parametrize(("fall", "falling"), [(0.06, True), (0.02, False), (-0.5, False)])
def test_a_method_is_level_where_its_distance_hardly_falls_or_rises(fall, falling):
    assert still_falling([training(fall)]) is falling


def test_the_seeds_of_a_method_are_judged_together():
    assert not still_falling([training(0.06), training(-0.06)])
    assert still_falling([training(0.06), training(0.05)])


def test_a_round_that_ended_early_is_not_hidden_by_the_next():
    early, level = training(0.06), training(0.0)
    assert still_falling_in_any([(early, level)])
    assert not still_falling_in_any([(level, level)])
    # Each round is judged over the seeds together.
    assert not still_falling_in_any([(early, level), (training(-0.06), level)])


def test_students_and_rates_that_make_a_comparison_unfair_are_counted(monkeypatch):
    """Two of three students of progressive distillation still fall; its rate is at an end."""
    early, level = training(0.06), training(0.0)
    of_steps = {1: (level, early), 2: (early, level), 4: (level,)}

    def student(method, seed, steps=1):
        rounds = of_steps[steps] if method == "progressive" else (level,)
        return SimpleNamespace(rounds=rounds)

    compare = Jackknife.__new__(Jackknife)
    compare.kind = "emoji_"
    settings = SimpleNamespace(progressive=ProgressiveSettings(from_steps=8))
    compare.bench = SimpleNamespace(
        student=student, bracketed=lambda name: name == "default", settings=settings
    )
    monkeypatch.setattr(Jackknife, "seeds", lambda self, *methods: (0, 1))
    found = Measurements()
    compare.check_trainings(found, "front", "default", "progressive", steps=(1, 2, 4))
    compare.check_trainings(found, "one", "default", "progressive", prefixed=False)
    assert {name: metric.mean for name, metric in found.metrics.items()} == {
        "emoji_falling_front": 2, "emoji_unbracketed_front": 1, "falling_one": 1,
        "unbracketed_one": 1,
    }  # fmt: skip


def test_what_came_before_the_last_third_does_not_count():
    early = training(0.0)
    values = early.frame[AVERAGED].to_numpy().copy()
    values[:5] += 10
    fell_early = History(early.frame.with_columns(pl.Series(AVERAGED, values)), STEPS, "max_steps")
    assert not still_falling([fell_early])


def test_without_a_curve_nothing_tells_that_it_is_level():
    assert last_fall([training(0.0, points=2)]) is None
    assert still_falling([training(0.0, points=2)])
    bare = History(pl.DataFrame({"step": [1], "loss": [0.0]}), STEPS, "max_steps")
    assert len(distances(bare)[1]) == 0
    assert still_falling([bare])


def test_the_weights_that_are_judged_are_measured():
    averaged = training(0.0, start=1.0)
    plain = averaged.frame.with_columns(pl.lit(5.0).alias(PLAIN))
    assert distances(History(plain, STEPS, "max_steps"))[1].max() == 1.0
    assert distances(training(0.0, start=3.0, column=PLAIN))[1].max() == 3.0
