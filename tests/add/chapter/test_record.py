"""What the pages say of the records in words, where no number stands beside them."""

from __future__ import annotations

import statistics

import polars as pl
import pytest

from okml.add.figures.gradients import balance
from okml.ledger import load_record
from tests.recorded import tables_of


@pytest.fixture(scope="module")
def night():
    return load_record("add", "night")


def values(record, metric):
    found = record.metrics[metric].values
    return [found[seed] for seed in sorted(found)]


def rows_of(record):
    """Return the distances of all ways to few steps on the digits."""
    tables = tables_of(record)
    methods = tables["method_seeds"]
    rows = pl.concat([methods, tables["arm_seeds"].select(methods.columns)])
    return rows.filter(set="digits").unique()


def test_trainings_still_come_nearer_where_the_pages_say_so(night):
    ends = tables_of(night)["ends"].filter(pl.col("still falling"), set="digits")
    assert set(ends["training"]) == {"image_kept_at_noise", "summed_distance"}
    cpu = load_record("add", "cpu").metrics
    assert cpu["falling_student"].mean == cpu["unbracketed_student"].mean == 0


def test_two_steps_help_with_every_seed_and_four_do_not_help_further_with_most(night):
    one, two, four = (values(night, f"student_fd_{steps}") for steps in (1, 2, 4))
    assert len(one) == 5
    assert all(b < a for a, b in zip(one, two, strict=True))
    assert sum(b < c for b, c in zip(two, four, strict=True)) == 4
    assert night.metrics["fd_ratio_two_to_one"].interval[1] < 1
    assert night.metrics["fd_ratio_four_to_two"].interval[0] < 1
    assert sum(ratio > 1 for ratio in values(night, "own_input_fd_ratio")) == 4
    assert night.metrics["own_input_fd_ratio"].interval[0] < 1


def test_rivals_are_ahead_at_one_call_alone_with_every_seed(night):
    rows = rows_of(night)
    own = rows.filter(method="default").select("calls", "seed", pl.col("fd").alias("own"))
    beside = rows.filter(pl.col("method") != "default").join(own, on=["calls", "seed"])
    ahead = beside.group_by("method", "calls").agg((pl.col("fd") < pl.col("own")).all())
    assert set(ahead.filter("fd").select("method", "calls").iter_rows()) == {
        ("consistency", 1), ("progressive", 1)
    }  # fmt: skip


def test_a_summed_distance_trades_recall_for_precision(night):
    means = (
        rows_of(night).filter(calls=1).group_by("method").agg(pl.col("precision", "recall").mean())
    )
    by = {row["method"]: row for row in means.iter_rows(named=True)}
    summed, default = by["summed_distance"], by["default"]
    assert summed["precision"] > default["precision"] + 0.05
    assert 0.4 < summed["recall"] / default["recall"] < 0.6
    assert night.metrics["summed_distance_fd_ratio_1"].interval[0] > 1


def test_the_student_of_emoji_never_comes_as_near_as_one_step_of_its_teacher(night):
    curve = tables_of(night)["training_curves"].filter(
        set="emoji", training="default", term="FD of one step"
    )
    assert curve["value"].min() > 1.2 * max(values(night, "emoji_teacher_fd_1"))
    assert curve["value"].max() > 1.4 * curve["value"].min()


def test_the_test_in_pixels_is_blind_to_noise_among_emoji_as_the_notebook_says(night):
    anchors = tables_of(night)["anchors"]
    told = dict(
        anchors.select(pl.concat_str("set", pl.lit(" "), "images"), "told apart").iter_rows()
    )
    assert told["emoji noise"] == pytest.approx(0.5)
    assert told["digits noise"] > 0.99
    assert abs(told["digits unseen real images"] - 0.5) < 0.1


def test_every_method_has_found_its_rate_between_worse_ones(night):
    rates = pl.DataFrame(night.tables["rates"].columns)
    assert rates.filter("chosen")["bracketed"].all()
    best = dict(rates.filter("chosen").select("method", "rate").iter_rows())
    assert best.pop("distillation_only") == rates.filter(pl.col("rate") > 0)["rate"].min()
    assert best.pop("image_kept_at_noise") == 0.25
    assert set(best.values()) == {1}


def test_a_student_from_random_weights_is_far_and_nearer_than_the_untouched_teacher(night):
    random, untouched = (
        values(night, name) for name in ("random_init_fd_ratio", "teacher_fd_ratio")
    )
    assert statistics.mean(random) < statistics.mean(untouched)


def test_the_balance_of_gradients_is_what_the_notebook_says(night):
    tables = tables_of(night)
    rows = balance(tables["training_curves"], tables["arm_seeds"], tables["method_seeds"])
    digits, emoji = (rows.filter(set=name) for name in ("digits", "emoji"))
    tens = pl.col("first ratio", "last ratio").is_between(10, 100).all()
    summed = pl.col("arm").str.contains("summed")
    assert digits.filter(~summed).select(tens).row(0) == (True, True)
    assert digits.filter(summed).select("first ratio", "last ratio").max_horizontal().item() < 2
    assert emoji.select(pl.min_horizontal("first ratio", "last ratio")).min().item() > 100


def test_distillation_alone_spreads_images_as_one_step_of_the_untouched_teacher_does(night):
    rows = rows_of(night).filter(steps=1)
    spread = {
        name: dict(rows.filter(method=name).select("seed", "spread").iter_rows())
        for name in ("default", "distillation_only", "teacher, DDIM")
    }
    default, alone, untouched = spread.values()
    assert all(abs(alone[seed] / untouched[seed] - 1) < 0.1 for seed in default)
    counted = night.metrics["distillation_alone_diversity_ratio"].values
    of_teacher = [
        seed
        for seed in default
        if counted[str(seed)] == pytest.approx(untouched[seed] / default[seed], rel=1e-3)
    ]
    assert len(of_teacher) > len(default) / 2
    tried = pl.DataFrame(night.tables["rates"].columns).filter(method="distillation_only")["FD"]
    assert tried.max() < 1.2 * tried.min()


def test_the_student_is_not_seen_to_differ_from_the_nearest_rival_at_two_and_four_calls(night):
    assert night.metrics["front_fd_ratio_1"].interval[1] < 1
    for calls in (2, 4):
        low, high = night.metrics[f"front_fd_ratio_{calls}"].interval
        assert low < 1 < high


def test_one_step_clears_its_bar_and_the_gaussians_are_about_as_near_as_25_steps(night):
    assert 0.15 < night.metrics["fd_ratio_one_step"].mean < 0.25  # "about a fifth"
    assert night.metrics["fd_ratio_one_step"].interval[1] < 0.6
    assert night.metrics["cheap_fd_ratio_one_step"].interval[1] < 0.1
    low, high = night.metrics["cheap_fd_ratio_to_25_steps"].interval
    assert low < 1 < high


def test_a_judge_without_features_finds_the_student_behind_gaussians_and_the_teacher(night):
    student, gaussians, teacher = (
        night.metrics[f"told_apart_{name}"].interval
        for name in ("student", "gaussians", "teacher_25")
    )
    assert student[0] > max(gaussians[1], teacher[1])
