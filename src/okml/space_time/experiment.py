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
from okml.space_time.config import SpaceTimeProfile
from okml.space_time.experiments import (
    causal,
    controls,
    holdouts,
    neuron_search,
    probing,
    prompting,
    reading,
    sizes,
    spelling,
)
from okml.space_time.study import Study
from okml.steps import StepResult

MAP_ROWS = 1200  # test entities that the record keeps of the map and the timeline


class Experiment(ChapterExperiment[SpaceTimeProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    @cached_property
    def data(self) -> StepResult:
        """The entity sets."""
        return self.steps("data", reading.describe_sets, self.study)

    @cached_property
    def depth(self) -> StepResult:
        """Accuracy by layer, of the model and of the untrained control."""
        return self.steps("depth", reading.measure_depth, self.study)

    @property
    def chosen(self) -> Mapping[str, int]:
        """The layer that leave-one-out picks for each set, with the first seed."""
        curves = self.depth.frames["curves"].filter(model="trained")
        seed = self.profile.seeds[0]
        return {
            name: reading.chosen_layer(curves.filter(set=name), seed) for name in self.profile.sets
        }

    @cached_property
    def spelling(self) -> StepResult:
        """Names that spell their region beside names that do not."""
        return self.steps("spelling", spelling.measure_spelling, self.study)

    @cached_property
    def map(self) -> StepResult:
        """Test places where they are and where the probe puts them."""
        name = self.profile.place_set
        return self.steps("map", reading.measure_predictions, self.study, name, self.chosen[name])

    @cached_property
    def timeline(self) -> StepResult:
        """Test entities of the time set: true years and probed years."""
        name = self.profile.time_set
        return self.steps(
            "timeline", reading.measure_predictions, self.study, name, self.chosen[name]
        )

    @cached_property
    def controls(self) -> StepResult:
        """Everything that could explain the probe without a map."""
        frames = self.depth.frames
        return self.steps(
            "controls", controls.measure_controls, self.study,
            frames["curves"], frames["predictions"], self.chosen,
        )  # fmt: skip

    @cached_property
    def prompts(self) -> StepResult:
        """Accuracy under every prompt."""
        return self.steps("prompts", prompting.measure_prompts, self.study)

    @cached_property
    def transfer(self) -> StepResult:
        """Probes carried from one prompt to another."""
        layer = self.chosen[self.profile.place_set]
        return self.steps("transfer", prompting.measure_transfer, self.study, layer)

    @cached_property
    def probes(self) -> StepResult:
        """The linear probe beside the MLP."""
        return self.steps("probes", probing.measure_probes, self.study)

    @cached_property
    def components(self) -> StepResult:
        """Accuracy from a few principal components."""
        return self.steps("components", probing.measure_components, self.study, self.chosen)

    @cached_property
    def scaling(self) -> StepResult:
        """Rows divided by their RMS beside raw rows."""
        return self.steps("scaling", probing.measure_scaling, self.study, self.chosen)

    @cached_property
    def holdouts(self) -> StepResult:
        """Countries, decades and kinds of entity that the probe never saw."""
        return self.steps("holdouts", holdouts.measure_holdouts, self.study, self.chosen)

    @cached_property
    def neurons(self) -> StepResult:
        """Single neurons that follow a coordinate."""
        return self.steps("neurons", neuron_search.measure_neurons, self.study)

    @cached_property
    def steering(self) -> StepResult:
        """What a push along the longitude direction does to the answer."""
        return self.steps("steering", causal.measure_steering, self.study)

    @cached_property
    def ablation(self) -> StepResult:
        """What removing a space neuron does to the loss."""
        found = self.neurons.frames["neurons"]
        return self.steps("ablation", causal.measure_ablation, self.study, found)

    @cached_property
    def sweep(self) -> StepResult:
        """What pinning a time neuron does to the predicted date."""
        found = self.neurons.frames["neurons"]
        return self.steps("sweep", causal.measure_sweep, self.study, found)

    @cached_property
    def sizes(self) -> StepResult:
        """Accuracy against model size."""
        frames = self.depth.frames
        return self.steps(
            "sizes", sizes.measure_sizes, self.study, frames["curves"], frames["predictions"]
        )

    def _open_study(self) -> Study:
        return Study(self.profile, self.folder)

    def _tables(self) -> Mapping[str, pl.DataFrame]:
        curves = self.depth.frames["curves"]
        means = curves.group_by("set", "model", "depth", maintain_order=True).agg(
            pl.col("r2").mean(), low=pl.col("r2").min(), high=pl.col("r2").max()
        )
        places, years = (
            step.frames["predictions"].head(MAP_ROWS) for step in (self.map, self.timeline)
        )
        control = self.controls.frames["controls"]
        return {
            "layers": self.depth.frames["layers"],
            "depth_curves": means,
            "controls": control.group_by("set", "features", maintain_order=True).agg(
                pl.col("r2").mean(), pl.col("spearman").mean(), pl.col("proximity").mean()
            ),
            "places": places,
            "years": years,
            "blocks": self.holdouts.frames["blocks"].drop("heldout_errors"),
            "sizes": self.sizes.frames["sizes"],
        }


STEPS = Experiment.step_names()


def run(profile: Profile, folder: Path) -> RunRecord:
    """Run the whole experiment; finished steps found in ``folder`` are used again."""
    return Experiment(cast(SpaceTimeProfile, profile), folder).record()
