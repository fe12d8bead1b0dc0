"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import cast

import polars as pl

from okml.add.experiments import (
    controls,
    foundations,
    pictures,
    published,
    quality,
    speed,
    training,
)
from okml.add.profile_settings import AddProfile
from okml.add.study import Study
from okml.experiment import ChapterExperiment
from okml.ledger import RunRecord
from okml.profile import Profile
from okml.steps import StepResult


class Experiment(ChapterExperiment[AddProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    @cached_property
    def data(self) -> StepResult:
        """The image sets."""
        return self.steps("data", foundations.describe_data, self.study)

    @cached_property
    def training(self) -> StepResult:
        """All trainings."""
        return self.steps("training", training.train_everything, self.study)

    @cached_property
    def networks(self) -> StepResult:
        """The networks that judge and watch, and anchors of the distance."""
        _ = self.training
        return self.steps("networks", foundations.describe_networks, self.study)

    @cached_property
    def arms(self) -> StepResult:
        """The ablation table."""
        return self.steps("arms", quality.measure_arms, self.study)

    @cached_property
    def methods(self) -> StepResult:
        """The student beside its teacher and other ways to few steps."""
        return self.steps("methods", quality.measure_methods, self.study)

    @cached_property
    def inputs(self) -> StepResult:
        """What the student makes of what it was trained on, and of what it is sampled on."""
        return self.steps("inputs", controls.measure_inputs, self.study)

    @cached_property
    def prompts(self) -> StepResult:
        """Whether the student listens."""
        return self.steps("prompts", controls.measure_prompts, self.study)

    @cached_property
    def memory(self) -> StepResult:
        """Whether the student copies."""
        return self.steps("memory", controls.measure_memory, self.study)

    @cached_property
    def pictures(self) -> StepResult:
        """Samples to look at."""
        return self.steps("pictures", pictures.draw_pictures, self.study)

    @cached_property
    def speed(self) -> StepResult:
        """How fast images come."""
        return self.steps("speed", speed.measure_speed, self.study)

    @cached_property
    def published(self) -> StepResult:
        """Table 1 with the published models, where the profile runs any of its rows."""
        return self.steps("published", published.measure_published, self.study)

    def _open_study(self) -> Study:
        return Study(self.profile, self.folder)

    def _tables(self) -> Mapping[str, pl.DataFrame]:
        return {
            "networks": self.networks.frames["networks"],
            "anchors": self.networks.frames["anchors"],
            "costs": self.training.frames["costs"],
            "arms": quality.summary(self.arms.frames["arms"]),
            "methods": quality.summary(self.methods.frames["methods"]),
            "inputs": self.inputs.frames["inputs"],
            "prompts": self.prompts.frames["prompts"],
            "speed": self.speed.frames["speed"],
            "table_1": self.published.frames["table_1"],
        }


STEPS = Experiment.step_names()


def run(profile: Profile, folder: Path) -> RunRecord:
    """Run the whole experiment; finished steps found in ``folder`` are used again."""
    return Experiment(cast(AddProfile, profile), folder).record()
