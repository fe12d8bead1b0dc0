"""The steps of the experiment, which the notebook calls as well."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import cast

import polars as pl

from okml.experiment import ChapterExperiment
from okml.ledger import RunRecord
from okml.lightsage.ahead import train_everything
from okml.lightsage.experiments import baselines, graphs, networks, protocol, serving, tail
from okml.lightsage.settings import LightsageProfile
from okml.lightsage.study import Study
from okml.profile import Profile
from okml.steps import StepResult


class Experiment(ChapterExperiment[LightsageProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    @cached_property
    def data(self) -> StepResult:
        """The shops under their protocols."""
        return self.steps("data", protocol.describe_data, self.study)

    @cached_property
    def graph(self) -> StepResult:
        """Statistics of the graph."""
        return self.steps("graph", protocol.describe_graph, self.study)

    @cached_property
    def costs(self) -> StepResult:
        """Costs of each variant of the network."""
        return self.steps("costs", networks.count_networks, self.study)

    @cached_property
    def training(self) -> StepResult:
        """All trainings, in parallel on a CPU."""
        return self.steps("training", train_everything, self.study)

    @cached_property
    def graphs(self) -> StepResult:
        """The graph ablation."""
        return self.steps("graphs", graphs.measure_graphs, self.study)

    @cached_property
    def scarce_search(self) -> StepResult:
        """The graph ablation on a shop with few searches."""
        return self.steps("scarce_search", graphs.measure_scarce_search, self.study)

    @cached_property
    def networks(self) -> StepResult:
        """The network ablation."""
        return self.steps("networks", networks.measure_networks, self.study)

    @cached_property
    def losses(self) -> StepResult:
        """Losses, and training with the predicted edge left out or not."""
        return self.steps("losses", networks.measure_losses, self.study)

    @cached_property
    def baselines(self) -> StepResult:
        """Baselines on the main data."""
        return self.steps("baselines", baselines.measure_baselines, self.study)

    @cached_property
    def tail(self) -> StepResult:
        """The long tail."""
        return self.steps("tail", tail.measure_tail, self.study)

    @cached_property
    def real(self) -> StepResult:
        """Real logs."""
        return self.steps("real", baselines.measure_real, self.study)

    @cached_property
    def serving(self) -> StepResult:
        """Search indices of the vectors."""
        return self.steps("serving", serving.measure_serving, self.study)

    @cached_property
    def gallery(self) -> StepResult:
        """Related items with their titles."""
        return self.steps("gallery", serving.show_gallery, self.study)

    def _open_study(self) -> Study:
        return Study(self.profile, self.folder)

    def _tables(self) -> Mapping[str, pl.DataFrame]:
        tables = {
            "data": self.data.frames["data"],
            "edges": self.graph.frames["report"],
            "graphs": self.graphs.frames["summary"],
            "networks": self.networks.frames["summary"],
            "costs": self.costs.frames["costs"],
            "losses": self.losses.frames["summary"],
            "baselines": self.baselines.frames["summary"],
            "tail": self.tail.frames["summary"],
            "tail_buckets": self.tail.frames["buckets"],
            "indices": self.serving.frames["indices"],
        }
        for name, step in (("real", self.real), ("scarce_search", self.scarce_search)):
            tables |= {f"{name}_{part}": frame for part, frame in step.frames.items()}
        return tables


STEPS = Experiment.step_names()


def run(profile: Profile, folder: Path) -> RunRecord:
    """Run the whole experiment; finished steps found in ``folder`` are used again."""
    return Experiment(cast(LightsageProfile, profile), folder).record()
