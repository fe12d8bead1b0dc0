"""The steps read courses alone, so courses made by hand decide what they must say."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from okml.errors import ParameterError
from okml.periodic_behavior.arms import ARMS, all_jobs
from okml.periodic_behavior.dynamics import equilibrium_angle
from okml.periodic_behavior.experiments import (
    measure_frequency,
    measure_norms,
    measure_periods,
    measure_presumptions,
)
from okml.periodic_behavior.settings import RateSettings
from tests.periodic_behavior.tiny import tiny

EPOCHS = 120
PROFILE = tiny(**{"problems.0.epochs": EPOCHS, "transient": 0.5})
PROFILE = PROFILE.model_copy(update={"problems": PROFILE.problems[:1]})
STUDY: Any = SimpleNamespace(profile=PROFILE)


def course(arm: str, rates: RateSettings, seed: int, loss: np.ndarray, **more: Any) -> pl.DataFrame:
    columns = {"norm": 1.0, "angle": 0.1, "norm_error": 1e-6} | more
    return pl.DataFrame(
        {"problem": 0, "arm": arm, "rate": rates.learning_rate, "decay": rates.weight_decay,
         "seed": seed, "epoch": np.arange(1, len(loss) + 1), "loss": loss}
    ).with_columns(**{name: pl.lit(value) if np.isscalar(value) else pl.Series(value)
                      for name, value in columns.items()})  # fmt: skip


def sawtooth(every: int) -> np.ndarray:
    """Return losses that peak once every so many epochs, and are low between."""
    return np.where(np.arange(EPOCHS) % every == every - 1, 2.0, 0.01)


def courses(**changed: np.ndarray) -> pl.DataFrame:
    """Return courses: one peak in ten epochs with decay and a free norm, none without."""
    calm = np.full(EPOCHS, 0.01)
    rows = []
    for seed in PROFILE.seeds:
        for arm in ARMS:
            loss = sawtooth(10) if arm in ("invariant", "all_weights") else calm
            norm = np.where(loss > 1, 3.0, 2.0)
            rows.append(course(arm, PROFILE.rates, seed, changed.get(arm, loss), norm=norm))
        for rates in (*PROFILE.other_decays, *PROFILE.other_rates):
            product = rates.learning_rate * rates.weight_decay
            every = round(10 * 1e-5 / product)
            rows.append(course("invariant", rates, seed, sawtooth(max(every, 3))))
    return pl.concat(rows, how="vertical_relaxed")


def test_two_arms_leave_weight_decay_out_and_the_others_have_all_of_it() -> None:
    without = {"no_decay", "all_no_decay"}
    assert {job.arm for job in all_jobs(PROFILE) if job.decay == 0} == without
    assert {job.arm for job in all_jobs(PROFILE) if job.decay == job.rates.weight_decay} == {
        *ARMS
    } - without


def test_peaks_count_after_the_transient() -> None:
    result = measure_periods(STUDY, courses())
    # At epochs 70, 80, …, 110 of 120: that of the last epoch is no peak, the loss never falls.
    assert result.values("periods") == [5.0, 5.0]
    assert result.values("periods_no_decay") == [0.0, 0.0]
    assert result.differences["periods"]["periods_no_decay"].mean == 5
    assert result.differences["periods_all_weights"]["periods_plain"].mean == 5
    assert result.values("lowest_loss_plain") == [0.01, 0.01]


def test_late_losses_on_spheres_are_medians_after_the_transient() -> None:
    early = np.arange(EPOCHS) < EPOCHS / 2
    high, low = np.where(early, 0.001, 3.0), np.where(early, 9.0, 0.05)
    low[-1] = 100.0  # one epoch does not move the median
    result = measure_periods(STUDY, courses(smallest_sphere=high, fixed_norm=low))
    assert result.values("late_loss_orders_smallest_sphere") == pytest.approx([np.log10(60)] * 2)
    rows = result.frames["periods"].filter(arm="norm held at 0.35 of the initial")
    assert rows.select("lowest loss", "median loss").rows() == [(0.001, 3.0)] * 2


def test_the_growth_is_from_the_low_norm_to_that_of_the_peak() -> None:
    result = measure_periods(STUDY, courses())
    assert result.values("norm_growth") == pytest.approx([1.5, 1.5])
    phases = result.frames["phases"].filter(seed=0)
    limits = phases.select("peak", "low", "rise", "next_peak").row(0)
    assert limits == (10, 11, 20, 20)  # epochs count from 1
    assert phases["growth"].is_null().to_list() == [False] * (len(phases) - 1) + [True]


def test_a_training_without_whole_periods_has_no_growth() -> None:
    result = measure_periods(STUDY, courses(invariant=np.full(EPOCHS, 0.5)))
    assert math.isnan(result.values("norm_growth")[0])
    assert result.frames["phases"].is_empty()


@pytest.mark.parametrize(
    ("metric", "others", "varied"),
    [("frequency_exponent", "other_decays", "weight_decay"),
     ("rate_exponent", "other_rates", "learning_rate")],
)  # fmt: skip
def test_an_exponent_is_that_of_the_frequencies(metric: str, others: str, varied: str) -> None:
    compared = [PROFILE.rates, *getattr(PROFILE, others)]
    made, counts = courses(), []
    for number, rates in enumerate(compared):
        own = (pl.col("rate") == rates.learning_rate) & (pl.col("decay") == rates.weight_decay)
        loss = pl.Series(np.tile(sawtooth(4 + 3 * number), len(PROFILE.seeds)))
        main = own & (pl.col("arm") == "invariant")
        made = pl.concat([made.filter(~main), made.filter(main).with_columns(loss=loss)])
        counts.append(
            sum(60 <= at < EPOCHS - 1 for at in range(3 + 3 * number, EPOCHS, 4 + 3 * number))
        )
    result = measure_frequency(STUDY, made)
    x, y = np.log([getattr(rates, varied) for rates in compared]), np.log(counts)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    assert result.values(metric) == pytest.approx([slope, slope])


def test_rates_that_err_on_both_sides_do_not_cancel() -> None:
    """A frequency that falls with the learning rate, at one product, has an exponent below 0."""
    made = courses()
    for rates, every in zip(PROFILE.other_rates, (5, 20), strict=True):  # the others: one in ten
        own = (pl.col("rate") == rates.learning_rate) & (pl.col("arm") == "invariant")
        loss = pl.Series(np.tile(sawtooth(every), len(PROFILE.seeds)))
        made = pl.concat([made.filter(~own), made.filter(own).with_columns(loss=loss)])
    assert max(measure_frequency(STUDY, made).values("rate_exponent")) < -0.8


def test_no_destabilization_makes_no_exponent() -> None:
    result = measure_frequency(STUDY, courses(invariant=np.full(EPOCHS, 0.5)))
    assert math.isnan(result.values("frequency_exponent")[0])
    assert math.isnan(result.values("rate_exponent")[0])


def test_angles_are_compared_with_the_equilibrium() -> None:
    equilibrium = equilibrium_angle(PROFILE.rates.learning_rate, PROFILE.rates.weight_decay)
    # Twice the angle in every fourth epoch, and next to nothing in the others.
    angles = np.where(np.arange(EPOCHS) % 4 == 0, 2.0, 1e-3) * equilibrium
    frame = courses()
    frame = frame.with_columns(angle=pl.lit(pl.Series(np.resize(angles, len(frame)))))
    result = measure_presumptions(STUDY, frame)
    assert result.values("angle_to_equilibrium") == pytest.approx([1.0, 1.0], rel=1e-3)
    assert result.values("away_from_equilibrium") == [1.0, 1.0]
    still = frame.with_columns(angle=pl.lit(1.2 * equilibrium))
    result = measure_presumptions(STUDY, still)
    assert result.values("away_from_equilibrium") == [0.0, 0.0]
    assert result.values("angle_to_equilibrium") == pytest.approx([1.2, 1.2])


def test_errors_of_the_equation_are_those_of_the_worst_step() -> None:
    made = courses()
    worst = (pl.col("epoch") == 7) & (pl.col("arm") == "plain")
    result = measure_norms(
        STUDY, made.with_columns(norm_error=pl.when(worst).then(0.5).otherwise(1e-6))
    )
    assert result.values("norm_error") == pytest.approx([1e-6, 1e-6])
    assert result.differences["norm_error"]["norm_error_plain"].mean == pytest.approx(
        -0.5, rel=1e-4
    )


def test_rates_that_are_no_others_are_refused() -> None:
    with pytest.raises(ParameterError, match="repeat what all arms have"):
        tiny(**{"rates.weight_decay": PROFILE.decays[0]})
    with pytest.raises(ParameterError, match="repeat what all arms have"):
        tiny(**{"rates.learning_rate": PROFILE.learning_rates[0]})
