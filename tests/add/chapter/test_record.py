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


def test_trainings_are_level_where_the_pages_say_so(night):
    ends = pl.DataFrame(night.tables["ends"].columns)
    assert not ends.filter(set="digits")["still falling"].any()
    cpu = load_record("add", "cpu").metrics
    assert cpu["falling_student"].mean == cpu["unbracketed_student"].mean == 0


def test_two_steps_help_with_every_seed_and_four_do_not_help_further(night):
    one, two, four = (values(night, f"student_fd_{steps}") for steps in (1, 2, 4))
    assert len(one) == 5
    assert all(b < a and b < c for a, b, c in zip(one, two, four, strict=True))
    assert all(ratio > 1 for ratio in values(night, "own_input_fd_ratio"))


def test_a_rival_is_ahead_at_each_number_of_calls_with_every_seed(night):
    methods = pl.DataFrame(night.tables["method_seeds"].columns)
    arms = pl.DataFrame(night.tables["arm_seeds"].columns)
    rows = pl.concat([methods, arms.select(methods.columns)]).filter(set="digits").unique()
    own = rows.filter(method="default").select("calls", "seed", pl.col("fd").alias("own"))
    beside = rows.filter(pl.col("method") != "default").join(own, on=["calls", "seed"])
    by = beside.group_by("method", "calls")
    ahead = by.agg((pl.col("fd") < pl.col("own")).all()).filter("fd")
    assert set(ahead.select("method", "calls").iter_rows()) == {
        ("consistency", 1), ("progressive", 1), ("adversarial_only", 2), ("progressive", 4)
    }  # fmt: skip
    means = by.agg(pl.col("fd", "own").mean()).row(
        by_predicate=(pl.col("method") == "progressive") & (pl.col("calls") == 2), named=True
    )
    assert means["fd"] > means["own"]


def test_the_student_of_emoji_is_driven_away_with_every_seed(night):
    curves = pl.DataFrame(night.tables["training_curves"].columns)
    curve = curves.filter(set="emoji", training="default", term="FD of one step")
    farthest = curve.group_by("seed").agg(pl.col("value").max())["value"]
    assert len(farthest) == 3
    assert farthest.min() > 1.5 * max(values(night, "emoji_teacher_fd_1"))


def test_every_method_has_found_its_rate_between_worse_ones(night):
    rates = pl.DataFrame(night.tables["rates"].columns)
    assert rates.filter("chosen")["bracketed"].all()
    best = dict(rates.filter("chosen").select("method", "rate").iter_rows())
    assert best.pop("distillation_only") == rates.filter(pl.col("rate") > 0)["rate"].min()
    assert best.pop("progressive") == 4
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
    assert digits.select(pl.col("first ratio", "last ratio").is_between(10, 100).all()).row(0) == (
        True, True,
    )  # fmt: skip
    assert emoji.select(pl.min_horizontal("first ratio", "last ratio")).min().item() > 100


def test_a_step_of_the_teacher_takes_longer_than_one_of_the_student_as_the_digest_says(night):
    """Almost a fifth longer in batches, and more than two fifths for single images."""
    one_step = tables_of(night)["speed"].filter(pl.col("steps") == 1)
    images = one_step.pivot("network", index="batch", values="ms an image")
    longer = images.select("batch", pl.col("teacher, DDIM") / pl.col("student") - 1)
    single, batch = (value for _, value in longer.sort("batch").iter_rows())
    assert 0.15 < batch < 0.2
    assert 0.4 < single < 0.5
