"""Tables of the notebook that take more than one call of a step's rows."""

from __future__ import annotations

import polars as pl
from scipy import stats

from okml.add.arms import ARMS
from okml.add.experiments.quality import front, wide
from okml.ledger import RunRecord, judge, load_claims
from okml.plotting import Picture, estimates
from okml.tables import Table

# The printed text leaves open whether c_img is given at pure noise.
ARM_TITLES = {name: arm.title for name, arm in ARMS.items()} | {
    "image_kept_at_noise": "c_img kept at pure noise, the literal reading"
}


def with_rows(frame: pl.DataFrame, caption: str, digits: int = 3) -> Table | Picture:
    """Return a frame as a table; without rows, a picture that only says that there are none."""
    return Table(frame, caption, digits=digits) if frame.height else estimates({})


def arms(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a row an arm: FD, its spread over seeds and spread by steps, and what one step covers.

    The frame is ``arms.arms``. Precision and recall are means over seeds at one step.
    """
    titles = {ARMS[name].title: title for name, title in ARM_TITLES.items()}
    at_one_step = (
        frame.filter(steps=1)
        .group_by("set", pl.col("method").replace(ARM_TITLES).alias("arm"), maintain_order=True)
        .agg(pl.col("precision", "recall").mean().name.suffix(", 1 step"))
    )
    found = wide(frame).with_columns(pl.col("arm").replace(titles))
    return found.join(at_one_step, on=["set", "arm"], how="left", maintain_order="left")


def contested(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the nearest method at each number of calls at which ADD has a trained rival.

    The frame is ``methods.methods``. A solver of the teacher alone is no rival: to come nearer
    than untrained networks says little.
    """
    untrained = pl.col("method").str.starts_with("teacher")
    trained = frame.filter(~untrained & (pl.col("method") != "default"))
    rivals = trained.select("set", "calls").unique()
    return front(frame).join(rivals, on=["set", "calls"], how="semi", maintain_order="left")


def decision(record: RunRecord, claim_id: str) -> pl.DataFrame:
    """Return the numbers that decide a claim, with the parts of their intervals and their bars.

    A row is the claim's metric or its difference from the control. ``from seeds`` is the half
    width of the interval that the seeds alone would give, ``half width`` that of the interval.
    """
    (claim,) = (each for each in load_claims(record.chapter) if each.id == claim_id)
    verdict = judge(claim, record)
    numbers = [("the claim's number", verdict.measured, claim.bar(record.profile))]
    if claim.control is not None:
        numbers.append(("less the control", verdict.difference, claim.control.bar))
    rows = []
    for name, estimate, bar in numbers:
        if estimate is None or estimate.interval is None:
            continue
        values = pl.Series(list(estimate.values.values()), dtype=pl.Float64)
        seeds, sd = len(values), values.std()
        quantile = float(stats.t.ppf(0.975, seeds - 1)) if seeds > 1 else None
        low, high = estimate.interval
        rows.append(
            {
                "number": name,
                "seeds": seeds,
                "mean": estimate.mean,
                "sd": sd,
                "from seeds": quantile * sd / seeds**0.5 if quantile and sd is not None else None,
                "half width": (high - low) / 2,
                "low": low,
                "high": high,
                "bar": bar or "—",
            }
        )
    schema = {"sd": pl.Float64, "from seeds": pl.Float64}
    return pl.DataFrame(rows, schema_overrides=schema)
