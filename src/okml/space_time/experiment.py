"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

from operator import attrgetter

from okml.experiment import ChapterExperiment, frame, step
from okml.space_time.config import SpaceTimeProfile
from okml.space_time.experiments.carrying import measure_carrying
from okml.space_time.experiments.controls import measure_controls
from okml.space_time.experiments.holdouts import measure_holdouts
from okml.space_time.experiments.neuron_search import measure_neurons
from okml.space_time.experiments.pinning import measure_ablation, measure_sweep
from okml.space_time.experiments.probing import measure_components, measure_probes, measure_scaling
from okml.space_time.experiments.prompting import measure_prompts, measure_transfer
from okml.space_time.experiments.reading import (
    chosen_layer,
    describe_sets,
    measure_depth,
    measure_predictions,
)
from okml.space_time.experiments.sizes import measure_sizes
from okml.space_time.experiments.spelling import measure_spelling
from okml.space_time.experiments.steering import measure_steering
from okml.space_time.experiments.tables import measure_tables
from okml.space_time.figures import RECORDED
from okml.space_time.study import Study

DEPTH = frame("depth", "curves"), frame("depth", "predictions")


class Experiment(ChapterExperiment[SpaceTimeProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    open_study = Study
    recorded = RECORDED
    data = step(describe_sets)
    depth = step(measure_depth)
    spelling = step(measure_spelling, frame("prompts", "prompts"), frame("controls", "letters"))
    carrying = step(measure_carrying)
    map = step(measure_predictions, attrgetter("profile.place_set"), DEPTH[1])
    timeline = step(measure_predictions, attrgetter("profile.time_set"), DEPTH[1])
    controls = step(measure_controls, *DEPTH, attrgetter("chosen"))
    prompts = step(measure_prompts)
    transfer = step(measure_transfer, attrgetter("place_layer"))
    probes = step(measure_probes)
    components = step(measure_components, attrgetter("chosen"))
    scaling = step(measure_scaling, DEPTH[0], attrgetter("chosen"))
    holdouts = step(measure_holdouts, attrgetter("chosen"))
    paper_tables = step(measure_tables)
    neurons = step(measure_neurons)
    steering = step(measure_steering)
    ablation = step(measure_ablation, frame("neurons", "neurons"))
    sweep = step(measure_sweep, frame("neurons", "neurons"))
    sizes = step(measure_sizes)

    @property
    def chosen(self) -> dict[str, int]:
        """The layer that leave-one-out picks for each set, with the first seed."""
        curves = self.depth.frames["curves"].filter(model="trained")
        seed = self.profile.seeds[0]
        return {name: chosen_layer(curves.filter(set=name), seed) for name in self.profile.sets}

    @property
    def place_layer(self) -> int:
        """The chosen layer of the set of places."""
        return self.chosen[self.profile.place_set]
