"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import cast

import polars as pl

from okml.experiment import ChapterExperiment
from okml.ledger import RunRecord
from okml.profile import Profile
from okml.steps import StepResult
from okml.strec.experiments import (
    attention,
    efficiency,
    protocol,
    quality,
    sampling,
    sweep,
    training,
)
from okml.strec.settings import StrecProfile
from okml.strec.study import Study


class Experiment(ChapterExperiment[StrecProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    @cached_property
    def data(self) -> StepResult:
        """The logs under their protocols."""
        return self.steps("data", protocol.describe_data, self.study)

    @cached_property
    def operations(self) -> StepResult:
        """The operations of the schedules, by arithmetic."""
        items = dict(self.data.frames["data"].select("data", "items").iter_rows())
        return self.steps("operations", protocol.count_operations, self.profile, items)

    @cached_property
    def training(self) -> StepResult:
        """All trainings of the run."""
        return self.steps("training", training.train_everything, self.study)

    @cached_property
    def attention(self) -> StepResult:
        """Concentration and rank of attention matrices."""
        return self.steps("attention", attention.measure_attention, self.study)

    @cached_property
    def quality(self) -> StepResult:
        """Quality and training cost of every arm on every data set."""
        return self.steps("quality", quality.measure_quality, self.study)

    @cached_property
    def rules(self) -> StepResult:
        """Quality of backbone and STRec under other rules of evaluation."""
        return self.steps("rules", quality.measure_rules, self.study)

    @cached_property
    def recipes(self) -> StepResult:
        """Quality of backbone and STRec with our recipe and the authors'."""
        return self.steps("recipes", quality.measure_recipes, self.study)

    @cached_property
    def sweep(self) -> StepResult:
        """Quality and cost against the size of the sample."""
        return self.steps("sweep", sweep.measure_sweep, self.study)

    @cached_property
    def stages(self) -> StepResult:
        """The contribution of each stage of the training."""
        return self.steps("stages", sweep.measure_stages, self.study)

    @cached_property
    def mixers(self) -> StepResult:
        """Efficient replacements of attention."""
        return self.steps("mixers", quality.measure_mixers, self.study)

    @cached_property
    def sampling(self) -> StepResult:
        """The learned scores and inclusion probabilities by time gap."""
        return self.steps("sampling", sampling.measure_sampling, self.study)

    @cached_property
    def case(self) -> StepResult:
        """A case study of one history."""
        return self.steps("case", sampling.measure_case, self.study)

    @cached_property
    def efficiency(self) -> StepResult:
        """Time and memory by four measurements."""
        return self.steps("efficiency", efficiency.measure_efficiency, self.study)

    @cached_property
    def lengths(self) -> StepResult:
        """Time and memory at growing lengths."""
        return self.steps("lengths", efficiency.measure_lengths, self.study)

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

    def _open_study(self) -> Study:
        return Study(self.profile, self.folder)

    def _tables(self) -> Mapping[str, pl.DataFrame]:
        statistics = self.attention.frames["statistics"]
        return {
            "summary": self.quality.frames["summary"],
            "costs": self.quality.frames["costs"],
            "rules": self.rules.frames["rules"],
            "recipes": self.recipes.frames["recipes"],
            "sweep": self.sweep.frames["sweep"],
            "sweep_costs": self.efficiency.frames["schedules"],
            "stages": self.stages.frames["stages"],
            "mixers": self.mixers.frames["mixers"],
            "attention": statistics.group_by("network", "layer", maintain_order=True).mean(),
            "published": self.efficiency.frames["published"],
            "inference": self.efficiency.frames["inference"],
            "serving": self.efficiency.frames["serving"],
            "training_speed": self.efficiency.frames["training"],
            "lengths": self.lengths.frames["lengths"],
        }


STEPS = Experiment.step_names()


def run(profile: Profile, folder: Path) -> RunRecord:
    """Run the whole experiment; finished steps in ``folder`` are reused."""
    return Experiment(cast(StrecProfile, profile), folder).record()
