"""What the pages say of the records in words, where no number stands beside them."""

from __future__ import annotations

import statistics

import polars as pl
import pytest

from okml.add.figures.gradients import balance
from okml.ledger import load_record


@pytest.fixture(scope="module")
def night():
    return load_record("add", "night")


def values(record, metric):
    found = record.metrics[metric].values
    return [found[seed] for seed in sorted(found)]


def test_trainings_are_level_where_the_pages_say_so(night):
    ends = pl.DataFrame(night.tables["ends"].columns)
    assert not ends.filter(set="digits")["still falling"].any()
    assert ends.filter(set="emoji", training="default")["still falling"].all()
    cpu = load_record("add", "cpu").metrics["falling_student"]
    assert cpu.mean == 1


def test_two_steps_help_with_every_seed_and_four_do_not_help_further(night):
    one, two, four = (values(night, f"student_fd_{steps}") for steps in (1, 2, 4))
    assert len(one) == 5
    assert all(b < a and b < c for a, b, c in zip(one, two, four, strict=True))
    assert all(ratio > 1 for ratio in values(night, "own_input_fd_ratio"))


def test_another_distillation_is_ahead_at_one_step_with_every_seed(night):
    assert all(ratio < 1 for ratio in values(night, "best_alternative_fd_ratio"))
    methods = pl.DataFrame(night.tables["method_seeds"].columns).filter(set="digits")
    means = dict(methods.group_by("method", "calls").agg(pl.col("fd").mean()).rows_by_key(
        ["method", "calls"], unique=True
    ))  # fmt: skip
    rivals = [name for name, calls in means if calls == 1 and name != "default"]
    ahead = {name for name in rivals if means[name, 1] < means["default", 1]}
    assert {"consistency", "progressive"} <= ahead
    assert "teacher, DDIM" not in ahead
    assert means["progressive", 4] == min(fd for (_, calls), fd in means.items() if calls == 4)
    assert means["default", 2] == min(fd for (_, calls), fd in means.items() if calls == 2)


def test_a_student_from_random_weights_is_far_and_nearer_than_the_untouched_teacher(night):
    random, untouched = (
        values(night, name) for name in ("random_init_fd_ratio", "teacher_fd_ratio")
    )
    assert statistics.mean(random) < statistics.mean(untouched)


def test_the_balance_of_gradients_is_what_the_notebook_says(night):
    tables = {name: pl.DataFrame(table.columns) for name, table in night.tables.items()}
    rows = balance(tables["training_curves"], tables["arm_seeds"], tables["method_seeds"])
    digits, emoji = (rows.filter(set=name) for name in ("digits", "emoji"))
    assert digits.select(pl.col("first ratio", "last ratio").is_between(10, 100).all()).row(0) == (
        True, True,
    )  # fmt: skip
    named = {row["arm"]: row for row in emoji.to_dicts()}
    published = named["default: both losses, text and image"]
    untrained = named["random feature network"]
    assert min(published["first ratio"], published["last ratio"]) > 100
    assert max(untrained["first ratio"], untrained["last ratio"]) < 10
    assert published["FD, 1 step"] < untrained["FD, 1 step"]
    assert published["FD, 4 steps"] > untrained["FD, 4 steps"]
