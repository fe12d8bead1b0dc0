"""How far the adversarial gradient outweighs that of distillation, beside what students reach."""

from __future__ import annotations

import polars as pl

from okml.add.figures.tables import ARM_TITLES

RATIO = "adversarial over distillation gradient"  # a term of the recorded curves
STEPS = {1: "FD, 1 step", 4: "FD, 4 steps"}
TEACHER = "teacher's FD, 1 step"


def balance(curves: pl.DataFrame, arms: pl.DataFrame, methods: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each arm with both losses, smallest last ratio first on each image set.

    The frames are ``training.curves``, ``arms.arms`` and ``methods.methods``, from which the
    teacher is read. A row has ``set``, ``arm``, the medians over seeds of the gradients' ratio
    where it is measured first and last, the student's mean FD in one and in four steps, and the
    teacher's in one.
    """
    of_seeds = (
        curves.filter(term=RATIO)
        .sort("step", maintain_order=True)
        .group_by("set", pl.col("training").alias("method"), "seed", maintain_order=True)
        .agg(
            pl.col("value").first().alias("first ratio"), pl.col("value").last().alias("last ratio")
        )
    )
    ratios = of_seeds.group_by("set", "method", maintain_order=True).median().drop("seed")
    for steps, title in STEPS.items():
        mean = _mean(arms.filter(steps=steps), "set", "method", title=title)
        ratios = ratios.join(mean, on=["set", "method"], how="left", maintain_order="left")
    teacher = _mean(methods.filter(method="teacher, DDIM", steps=1), "set", title=TEACHER)
    return (
        ratios.join(teacher, on="set", how="left", maintain_order="left")
        .sort("set", "last ratio", maintain_order=True)
        .with_columns(pl.col("method").replace(ARM_TITLES))
        .rename({"method": "arm"})
    )


def _mean(rows: pl.DataFrame, *keys: str, title: str) -> pl.DataFrame:
    return rows.group_by(*keys, maintain_order=True).agg(pl.col("fd").mean().alias(title))
