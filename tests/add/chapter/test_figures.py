"""What the chapter's figures and tables say, against rows that are counted by hand."""

import polars as pl
import pytest

from okml.add.figures import gradients, quality, tables
from okml.ledger import load_record
from okml.plotting import EMPTY
from okml.tables import Table
from tests.recorded import tables_of

RATIO = "adversarial over distillation gradient"


def curve(term, values, training="default", seed=0):
    steps = [50 * (1 + number) for number in range(len(values))]
    return pl.DataFrame({"term": [term] * len(values), "step": steps, "value": values}).select(
        pl.lit("emoji").alias("set"),
        pl.lit(training).alias("training"),
        pl.lit(seed, pl.Int64).alias("seed"),
        pl.all(),
    )


def judged(rows):
    frame = pl.DataFrame(rows, ["method", "steps", "seed", "fd"], orient="row")
    return frame.with_columns(pl.lit("emoji").alias("set"))


def test_a_distance_that_rises_and_falls_is_not_said_to_fall():
    curves = [curve("FD of one step", [24.0, 40.0, 19.0]), curve("distillation loss", [1.0, 0.5])]
    teacher = pl.DataFrame({"steps": [1, 25], "fd": [12.0, 1.5]})
    assert quality.training(pl.concat(curves), teacher, heads=3).alt == (
        "While the student trains, the distance of one step is 24.00 at step 50, at most 40.00 at "
        "step 100, and 19.00 at step 150; beside it losses, of which the heads' is 6 where they "
        "tell nothing."
    )


def test_the_balance_of_gradients_stands_beside_what_each_arm_reaches():
    ratios = {("default", 0): [400.0, 700.0, 900.0], ("default", 1): [600.0, 100.0, 500.0]}
    ratios |= {("random_features", 0): [5.0, 2.0]}
    curves = [curve(RATIO, values, *of) for of, values in ratios.items()]
    curves.append(curve("distillation loss", [9.0, 9.0], "distillation_only"))
    arms = [("default", 1, 0, 20.0), ("default", 1, 1, 24.0), ("default", 4, 0, 33.0)]
    arms += [("random_features", 1, 0, 15.0), ("random_features", 4, 0, 10.0)]
    arms += [("distillation_only", 1, 0, 21.0)]
    methods = [("teacher, DDIM", 1, 0, 12.0), ("teacher, DDIM", 25, 0, 1.5)]
    methods += [("teacher, DDIM", 1, 1, 13.0), ("consistency", 1, 0, 11.0)]
    found = gradients.balance(pl.concat(curves), judged(arms), judged(methods))
    assert found["arm"].to_list() == [
        "random feature network",
        "default: both losses, text and image",
    ]
    random, default = (row[2:] for row in found.rows())
    assert random == pytest.approx((5, 2, 15, 10, 12.5))
    assert default == pytest.approx((500, 700, 22, 33, 12.5))


def test_the_nearest_is_named_where_a_trained_rival_draws_with_as_many_calls():
    rows = [("default", 1, 3.0), ("consistency", 1, 2.0), ("teacher, DDIM", 1, 9.0)]
    rows += [("default", 2, 1.0), ("teacher, DDIM", 2, 4.0), ("teacher, DDIM", 25, 0.5)]
    frame = pl.DataFrame(rows, ["method", "calls", "fd"], orient="row").with_columns(
        pl.lit("digits").alias("set"),
        *(pl.lit(0.5).alias(name) for name in ("precision", "recall", "alignment", "spread")),
    )
    found = tables.contested(frame)
    assert found.select("calls", "method", "ADD's fd").rows() == [(1, "consistency", 3.0)]


def test_rows_of_no_run_are_no_table():
    rows = pl.DataFrame({"FID": [1.0]})
    assert isinstance(tables.with_rows(rows, "A table."), Table)
    assert EMPTY in tables.with_rows(rows.head(0), "A table.").html


def test_the_table_of_arms_has_what_one_step_covers():
    arms = tables_of(load_record("add", "night"))["arm_seeds"].filter(set="digits")
    row = tables.arms(arms).filter(pl.col("arm").str.contains("literal")).row(0, named=True)
    own = arms.filter(method="image_kept_at_noise", steps=1)
    for measure in ("precision", "recall"):
        assert row[f"{measure}, 1 step"] == pytest.approx(own[measure].mean())
    assert row["FD, 1 step"] == pytest.approx(own["fd"].mean())


def test_the_figure_of_methods_has_the_level_of_the_gaussians():
    record = tables_of(load_record("add", "night"))
    ways, anchors = (record[name].filter(set="digits") for name in ("method_seeds", "anchors"))
    picture = quality.methods(ways, anchors)
    assert "one Gaussian a class" in picture.svg
    assert "; one Gaussian a class 0.55; floor 0.27." in picture.alt
