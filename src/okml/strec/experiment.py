"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

import polars as pl

from okml.experiment import ChapterExperiment, frame, step
from okml.strec.experiments.attention import measure_attention
from okml.strec.experiments.efficiency import measure_efficiency, measure_lengths
from okml.strec.experiments.protocol import count_operations, describe_data
from okml.strec.experiments.quality import (
    measure_mixers,
    measure_quality,
    measure_recipes,
    measure_rules,
)
from okml.strec.experiments.sampling import measure_case, measure_sampling
from okml.strec.experiments.sweep import measure_stages, measure_sweep
from okml.strec.experiments.training import train_everything
from okml.strec.figures import RECORDED
from okml.strec.settings import StrecProfile
from okml.strec.study import Study


class Experiment(ChapterExperiment[StrecProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    open_study = Study
    recorded = RECORDED
    data = step(describe_data)
    operations = step(count_operations, frame("data", "data"))
    training = step(train_everything)
    attention = step(measure_attention)
    quality = step(measure_quality)
    rules = step(measure_rules)
    recipes = step(measure_recipes)
    sweep = step(measure_sweep)
    stages = step(measure_stages)
    mixers = step(measure_mixers)
    sampling = step(measure_sampling)
    case = step(measure_case)
    efficiency = step(measure_efficiency)
    lengths = step(measure_lengths)

    def pareto(self) -> pl.DataFrame:
        """Return quality and operations of every arm on the first data set, for the figure."""
        summary = self.quality.frames["summary"].filter(data=self.profile.main.log)
        mixers = self.mixers.frames["mixers"].filter(pl.col("arm") != "backbone")
        sweep = self.sweep.frames["sweep"].filter(~pl.col("arm").is_in(summary["arm"].to_list()))
        columns = ("arm", "ndcg@10", "low", "high")
        points = pl.concat([part.select(columns) for part in (summary, sweep, mixers)])
        costs = pl.concat([self.quality.frames["costs"], self.sweep.frames["costs"],
                           self.mixers.frames["costs"]], how="diagonal")  # fmt: skip
        mflop = costs.group_by("arm").agg(pl.col("MFLOP").first())
        group = (
            pl.when(pl.col("arm").str.starts_with("newest")).then(pl.lit("backbone, newest items"))
            .when(pl.col("arm").str.starts_with("causal")).then(pl.lit("causal SASRec"))
            .when(pl.col("arm").is_in(self.profile.references)).then(pl.lit("other papers"))
            .when(pl.col("arm").is_in(mixers["arm"].to_list())).then(pl.lit("other mixers"))
            .when(pl.col("arm") == "backbone").then(pl.lit("backbone"))
            .otherwise(pl.lit("STRec, any ranking and schedule"))
        )  # fmt: skip
        return points.join(mflop, on="arm", maintain_order="left").with_columns(group=group)
