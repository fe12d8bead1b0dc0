"""Tables of the notebook that take more than one call of a step's rows."""

from __future__ import annotations

import polars as pl

from okml.add.arms import ARMS
from okml.add.experiments.quality import front, wide
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
