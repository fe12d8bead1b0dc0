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
    columns = {"norm": 1.0, "angle": 0.1, "norm_error": 1e-6, "layer_error": 1e-5} | more
    columns.setdefault("layers", [[1.0, 1.0]] * len(loss))
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
        for rates in PROFILE.compared_rates[1:]:
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
    rows = result.frames["periods"].filter(arm="norms held at 0.35 of the initial")
    assert rows.select("lowest loss", "median loss").rows() == [(0.001, 3.0)] * 2


def test_the_growth_is_from_the_low_norm_to_that_of_the_peak() -> None:
    result = measure_periods(STUDY, courses())
    assert result.values("norm_growth") == pytest.approx([1.5, 1.5])
    phases = result.frames["phases"].filter(seed=0)
    limits = phases.select("peak", "low", "rise", "next_peak").row(0)
    assert limits == (10, 11, 20, 20)  # epochs count from 1
    assert phases["growth"].is_null().to_list() == [False] * (len(phases) - 1) + [True]


def test_the_growth_of_the_beginning_does_not_count() -> None:
    """The destabilizations before epoch 60 of 120 throw the norm ten times as far."""
    loss = sawtooth(10)
    early = np.arange(EPOCHS) < 0.5 * EPOCHS - 1  # the peak of epoch 60, number 59, is early
    norm = np.where(loss > 1, np.where(early | (np.arange(EPOCHS) == 59), 30.0, 3.0), 2.0)
    made = courses().with_columns(
        norm=pl.when(pl.col("arm") == "invariant")
        .then(pl.Series(np.resize(norm, len(courses()))))
        .otherwise(pl.col("norm"))
    )
    result = measure_periods(STUDY, made)
    assert result.values("norm_growth") == pytest.approx([1.5, 1.5])
    phases = result.frames["phases"].filter(seed=0)
    assert phases["growth"].max() == pytest.approx(15)
    assert phases.filter("late")["next_peak"].min() == 70
    assert phases.filter(~pl.col("late"))["next_peak"].max() == 60
    kept = result.frames["phases"].filter("late")
    assert len(kept) == sum(result.values("periods"))


def test_the_layer_that_falls_and_the_layer_that_grows_are_told_apart() -> None:
    """Norms by hand: layer 1 falls to a half in B, layer 2 is thrown to three times its norm."""
    loss = sawtooth(10)
    place = np.arange(EPOCHS) % 10  # 9 at the peak, 0 where B begins, 8 where it ends
    layers = np.stack([4.0 - 0.25 * place, np.full(EPOCHS, 2.0)], axis=1)
    layers[place == 9] = [2.0, 6.0]
    kept = courses().filter(
        (pl.col("arm") != "invariant") | (pl.col("decay") != PROFILE.rates.weight_decay)
        | (pl.col("rate") != PROFILE.rates.learning_rate)
    )  # fmt: skip
    kept = kept.with_columns(
        layers=pl.when(pl.col("arm") == "fixed_norm")
        .then(pl.lit([8.0, 1.0]))
        .otherwise(pl.col("layers"))
    )
    own = [
        course("invariant", PROFILE.rates, seed, loss, layers=layers.tolist())
        for seed in PROFILE.seeds
    ]
    found = measure_periods(STUDY, pl.concat([kept, *own], how="vertical_relaxed"))
    rows = found.frames["layers"].rows(named=True)
    assert [row["layer"] for row in rows] == [1, 2]
    # Five destabilizations count; the last has no B after it. Four are left in each of two seeds.
    assert [row["periods"] for row in rows] == [8, 8]
    assert [row["initial norm"] for row in rows] == [8.0, 1.0]
    assert [row["norm at C"] for row in rows] == pytest.approx([2.0 / 8, 2.0])
    assert [row["fall"] for row in rows] == pytest.approx([0.5, 1.0])
    assert [row["falls most"] for row in rows] == [1.0, 0.0]
    assert [row["growth"] for row in rows] == pytest.approx([4.0 / 2.0, 3.0])
    assert [row["grows most"] for row in rows] == [0.0, 1.0]


def test_spheres_are_told_by_factor_with_their_late_loss_and_frequency() -> None:
    early = np.arange(EPOCHS) < EPOCHS / 2
    found = measure_periods(STUDY, courses(sphere_50=np.where(early, 9.0, sawtooth(10))))
    rows = found.frames["spheres"].filter(seed=0)
    factors = [1.0, 0.85, 0.7, 0.6, 0.5, 0.35, 0.25]
    assert rows.select("held", "factor").rows() == [
        *(("layers", factor) for factor in factors), ("total", 1.0),
    ]  # fmt: skip
    half = rows.row(factors.index(0.5), named=True)
    assert half["median loss"] == 0.01
    assert half["in 1000 epochs"] == pytest.approx(1000 * 5 / 60)
    assert half["angle"] == pytest.approx(0.1)


def test_a_training_without_whole_periods_has_no_growth() -> None:
    result = measure_periods(STUDY, courses(invariant=np.full(EPOCHS, 0.5)))
    assert math.isnan(result.values("norm_growth")[0])
    assert result.frames["phases"].is_empty()
    assert result.frames["layers"].is_empty()


@pytest.mark.parametrize(
    ("metric", "others", "varied"),
    [("frequency_exponent", "other_decays", "weight_decay"),
     ("rate_exponent", "other_rates", "learning_rate"),
     ("rate_exponent_at_fixed_decay", "rates_at_decay", "learning_rate")],
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
        own = (
            (pl.col("rate") == rates.learning_rate)
            & (pl.col("decay") == rates.weight_decay)
            & (pl.col("arm") == "invariant")
        )
        loss = pl.Series(np.tile(sawtooth(every), len(PROFILE.seeds)))
        made = pl.concat([made.filter(~own), made.filter(own).with_columns(loss=loss)])
    assert max(measure_frequency(STUDY, made).values("rate_exponent")) < -0.8


def counted(every: int) -> int:
    """Return how many peaks of :func:`sawtooth` count."""
    return sum(EPOCHS / 2 <= at < EPOCHS - 1 for at in range(every - 1, EPOCHS, every))


def test_exponents_of_frequencies_by_a_power_law_differ_by_the_power() -> None:
    """Frequencies are proportional to the decay, and to the learning rate at one decay or not."""
    made = courses()
    for rates in PROFILE.compared_rates:
        by_decay = rates.learning_rate == PROFILE.rates.learning_rate
        factor = rates.weight_decay / PROFILE.rates.weight_decay if by_decay else 1.0
        every = round(12 / factor)
        own = (
            (pl.col("arm") == "invariant")
            & (pl.col("rate") == rates.learning_rate)
            & (pl.col("decay") == rates.weight_decay)
        )
        loss = pl.Series(np.tile(sawtooth(every), len(PROFILE.seeds)))
        made = pl.concat([made.filter(~own), made.filter(own).with_columns(loss=loss)])
    result = measure_frequency(STUDY, made)
    decays = [PROFILE.rates.weight_decay, *PROFILE.decays]
    counts = [counted(round(12 * PROFILE.rates.weight_decay / decay)) for decay in decays]
    of_decay = np.polyfit(np.log(decays), np.log(counts), 1)[0]
    assert result.values("rate_exponent_at_fixed_decay") == pytest.approx([0, 0], abs=1e-9)
    assert result.values("exponent_difference") == pytest.approx([-of_decay] * 2)
    assert of_decay > 0.8


def test_every_pair_of_rates_is_trained_once_and_a_grid_has_them_all() -> None:
    pairs = [(each.learning_rate, each.weight_decay) for each in PROFILE.compared_rates]
    rates = [PROFILE.rates.learning_rate, *PROFILE.learning_rates]
    decays = [PROFILE.rates.weight_decay, *PROFILE.decays]
    assert len(pairs) == len(set(pairs))
    assert {*pairs} == {(rate, decay) for rate in rates for decay in decays}
    cross = PROFILE.model_copy(update={"crossed": False}).compared_rates
    assert {*cross} == {
        PROFILE.rates, *PROFILE.other_decays, *PROFILE.other_rates, *PROFILE.rates_at_decay
    }  # fmt: skip
    jobs = [job for job in all_jobs(PROFILE) if job.arm == "invariant"]
    assert len(jobs) == len(pairs) * len(PROFILE.seeds)


def test_spheres_that_a_profile_does_not_list_are_not_trained() -> None:
    few = PROFILE.model_copy(update={"spheres": ("sphere_70",)})
    left_out = {*ARMS} - {job.arm for job in all_jobs(few)}
    assert left_out == {"sphere_85", "sphere_60", "sphere_50", "sphere_25"}


def test_no_destabilization_makes_no_exponent() -> None:
    result = measure_frequency(STUDY, courses(invariant=np.full(EPOCHS, 0.5)))
    assert math.isnan(result.values("frequency_exponent")[0])
    assert math.isnan(result.values("rate_exponent")[0])
    assert math.isnan(result.values("exponent_difference")[0])


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
    assert result.values("layer_error") == pytest.approx([1e-5, 1e-5])


def test_quantiles_of_the_error_are_those_of_its_logarithm_over_epochs() -> None:
    made = courses()
    ranks = np.resize(np.arange(EPOCHS) / (EPOCHS - 1), len(made))  # 0 to 1 in each course
    frame = made.with_columns(norm_error=pl.Series(10 ** (-6 + 4 * ranks)))
    result = measure_norms(STUDY, frame)
    assert result.values("norm_error_orders_median") == pytest.approx([-4, -4])
    assert result.values("norm_error_orders_p99_plain") == pytest.approx([-2.04, -2.04])
    row = result.frames["errors"].row(0, named=True)
    assert row["network"] == "scale-invariant weights"
    numbers = [row[name] for name in ("median", "p99", "max", "max of a layer")]
    assert numbers == pytest.approx([-4, -2.04, -2, -5])
    exact = measure_norms(STUDY, made.with_columns(norm_error=0.0))
    assert exact.values("norm_error_orders_median") == [-16, -16]


def test_rates_that_are_no_others_are_refused() -> None:
    with pytest.raises(ParameterError, match="repeat what all arms have"):
        tiny(**{"rates.weight_decay": PROFILE.decays[0]})
    with pytest.raises(ParameterError, match="repeat what all arms have"):
        tiny(**{"rates.learning_rate": PROFILE.learning_rates[0]})
