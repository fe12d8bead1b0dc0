"""The steps read courses alone, so courses made by hand decide what they must say."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

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
    columns = {"norm": 1.0, "step_length": 0.1, "gradient": 1.0, "norm_error": 1e-6} | more
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
        for arm in PROFILE.arms:
            loss = sawtooth(10) if arm in ("invariant", "all_weights") else calm
            norm = np.where(loss > 1, 3.0, 2.0)
            rows.append(
                course(arm, PROFILE.rates, seed, changed.get(arm, loss), norm=norm,
                       norm_error=0.5 if arm == "plain" else 1e-6)
            )  # fmt: skip
        for rates in (*PROFILE.grid, *PROFILE.same_product):
            product = rates.learning_rate * rates.weight_decay
            every = round(10 * 1e-5 / product)
            rows.append(course("invariant", rates, seed, sawtooth(max(every, 3))))
    return pl.concat(rows, how="vertical_relaxed")


def test_peaks_count_after_the_transient() -> None:
    result = measure_periods(STUDY, courses())
    # At epochs 70, 80, …, 110 of 120: that of the last epoch is no peak, the loss never falls.
    assert result.values("periods") == [5.0, 5.0]
    assert result.values("periods_no_decay") == [0.0, 0.0]
    assert result.differences["periods"]["periods_no_decay"].mean == 5
    assert result.values("lowest_loss_plain") == [0.01, 0.01]


def test_the_growth_is_from_the_low_norm_to_that_of_the_peak() -> None:
    result = measure_periods(STUDY, courses())
    assert result.values("norm_growth") == pytest.approx([1.5, 1.5])
    phases = result.frames["phases"].filter(seed=0)
    assert phases.select("peak", "low", "rise", "next_peak").row(0) == (
        10,
        11,
        20,
        20,
    )  # epochs count from 1


def test_a_training_without_whole_periods_has_no_growth() -> None:
    result = measure_periods(STUDY, courses(invariant=np.full(EPOCHS, 0.5)))
    assert math.isnan(result.values("norm_growth")[0])
    assert result.frames["phases"].is_empty()


def test_the_exponent_is_that_of_the_frequencies() -> None:
    result = measure_frequency(STUDY, courses())
    rows = result.frames["frequency"].filter(seed=0)
    counts = dict(zip(rows["product"], rows["in 1000 epochs"], strict=True))
    compared = [PROFILE.rates, *PROFILE.grid]
    products = [rates.learning_rate * rates.weight_decay for rates in compared]
    x, y = np.log(products), np.log([counts[product] for product in products])
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    assert result.values("frequency_exponent") == pytest.approx([slope, slope])
    assert result.values("frequency_log_ratio") == pytest.approx([0.0, 0.0])


def test_no_destabilization_makes_no_exponent() -> None:
    result = measure_frequency(STUDY, courses(invariant=np.full(EPOCHS, 0.5)))
    assert math.isnan(result.values("frequency_exponent")[0])
    assert math.isnan(result.values("frequency_log_ratio")[0])


def test_lengths_are_compared_with_the_equilibrium() -> None:
    equilibrium = math.sqrt(2 * PROFILE.rates.learning_rate * PROFILE.rates.weight_decay)
    # Twice the length in every fourth epoch, and next to nothing in the others.
    lengths = np.where(np.arange(EPOCHS) % 4 == 0, 2.0, 1e-3) * equilibrium
    frame = courses()
    frame = frame.with_columns(step_length=pl.lit(pl.Series(np.resize(lengths, len(frame)))))
    result = measure_presumptions(STUDY, frame)
    assert result.values("mean_step_to_equilibrium") == pytest.approx([1.0, 1.0], rel=1e-3)
    assert result.values("away_from_equilibrium") == [1.0, 1.0]
    still = frame.with_columns(step_length=pl.lit(1.2 * equilibrium))
    result = measure_presumptions(STUDY, still)
    assert result.values("away_from_equilibrium") == [0.0, 0.0]
    assert result.values("mean_step_to_equilibrium") == pytest.approx([1.2, 1.2])


def test_errors_of_the_equation_are_medians_over_epochs() -> None:
    result = measure_norms(STUDY, courses())
    assert result.values("norm_error") == pytest.approx([1e-6, 1e-6])
    assert result.differences["norm_error"]["norm_error_plain"].mean == pytest.approx(
        -0.5, rel=1e-4
    )
