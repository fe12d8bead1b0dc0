"""The steps of the experiment, which the notebook calls as well."""

from __future__ import annotations

from okml.experiment import ChapterExperiment, step
from okml.lightsage.experiments.baselines import measure_baselines, measure_real
from okml.lightsage.experiments.graphs import (
    measure_graphs,
    measure_in_view,
    measure_scarce_search,
)
from okml.lightsage.experiments.networks import count_networks, measure_losses, measure_networks
from okml.lightsage.experiments.protocol import describe_data, describe_graph, train_everything
from okml.lightsage.experiments.serving import measure_serving, show_gallery
from okml.lightsage.experiments.tail import measure_tail
from okml.lightsage.figures import RECORDED
from okml.lightsage.settings import LightsageProfile
from okml.lightsage.study import Study


class Experiment(ChapterExperiment[LightsageProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    open_study = Study
    recorded = RECORDED
    data = step(describe_data)
    graph = step(describe_graph)
    costs = step(count_networks)
    training = step(train_everything)
    graphs = step(measure_graphs)
    scarce_search = step(measure_scarce_search)
    in_view = step(measure_in_view)
    networks = step(measure_networks)
    losses = step(measure_losses)
    baselines = step(measure_baselines)
    tail = step(measure_tail)
    real = step(measure_real)
    serving = step(measure_serving)
    gallery = step(show_gallery)
