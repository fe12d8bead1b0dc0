"""The graph ablation: the gain of each kind of edge, and controls."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from okml.ledger import Estimate, estimate_difference, estimate_over_seeds
from okml.lightsage.arms import graph_jobs, in_view_jobs, scarce_search_jobs
from okml.lightsage.comparison import measure_gain, share_a_log
from okml.lightsage.experiments.protocol import share_within
from okml.lightsage.graph.ablation import GraphName
from okml.lightsage.study import Study
from okml.steps import StepResult

STRONG: GraphName = "strong"


class Gain(NamedTuple):
    """The gain of one graph over another, and its control."""

    metric: str
    graphs: tuple[GraphName, GraphName]
    control: tuple[str, GraphName] | None = None  # metric and graph


GAINS = (
    Gain(
        "strong_hr10_gain_over_weak_graph",
        ("strong", "weak"),
        ("fewer_edges_hr10_gain_over_weak_graph", "weak, as few edges"),
    ),
    Gain(
        "search_edges_hr10_gain",
        ("strong + search", "strong"),
        ("shuffled_within_types_hr10_gain", "strong + shuffled search"),
    ),
    Gain("swing_hr10_gain", ("full", "strong + search")),
    Gain("swing_hr10_gain_over_strong", ("strong + swing", "strong")),
    Gain(
        "swing_hr10_gain_over_cosine",
        ("full", "full, cosine for swing"),
        ("neither_hr10_gain_over_cosine", "strong + search"),
    ),
    Gain("strong_input_hr10_gain", ("full", "full, swing of all clicks")),
)
# Graphs whose coverage is compared with that of strong edges alone.
REACHING: dict[str, GraphName] = {
    "search_coverage_gain": "strong + search",
    "swing_coverage_gain": "strong + swing",
}


def measure_graphs(study: Study) -> StepResult:
    """Train LightSAGE on every graph of the ablation."""
    profile, result = study.profile, StepResult()
    comparison = study.compare(graph_jobs(profile), "full")
    for gain in GAINS:
        measure_gain(result, comparison, gain.metric, gain.graphs, gain.control)
    result.measure("hr10", comparison.estimate("full"))
    for metric, name in REACHING.items():
        if {name, STRONG} <= set(profile.graphs):
            result.measure(metric, coverage_gain(study, name))
    rows = []
    for seed, data in comparison.data.items():
        for name in profile.graphs:
            graph = study.graph(data, name, seed)
            rows.append(
                {
                    "arm": name,
                    "edges": float(graph.edges.height),
                    "items with an edge": float(1 - graph.adjacency.isolated.numpy().mean()),
                    "same category": share_within(graph.edges, data.category),
                }
            )
    graphs = pl.DataFrame(rows).group_by("arm", maintain_order=True).mean()
    summary = comparison.summary().join(graphs, on="arm", how="left", maintain_order="left")
    result.frames = {"summary": summary, "seeds": comparison.per_seed()}
    return result


def measure_scarce_search(study: Study) -> StepResult:
    """Train on some graphs on a shop with few searches."""
    result = StepResult()
    comparison = study.compare(scarce_search_jobs(study.profile), "full")
    graphs = ("full", "strong + search")
    measure_gain(result, comparison, "swing_hr10_gain_where_search_is_scarce", graphs)
    result.frames = {"summary": comparison.summary(), "seeds": comparison.per_seed()}
    return result


def measure_in_view(study: Study) -> StepResult:
    """Train on strong and on weak edges of a shop whose feed, too, follows the item in view."""
    rows, result = in_view_jobs(study.profile), StepResult(frames={"summary": pl.DataFrame()})
    if rows:
        comparison = study.compare(rows, STRONG)
        control = "fewer_edges_hr10_gain_in_view", "weak, as few edges"
        name = "strong_hr10_gain_in_view"
        measure_gain(result, comparison, name, (STRONG, "weak"), control)
        result.frames = {"summary": comparison.summary()}
    return result


def coverage_gain(study: Study, name: GraphName) -> Estimate:
    """Return the gain in the share of items with an edge over strong edges alone."""
    data = {seed: study.data(study.profile.data, seed) for seed in study.profile.seeds}
    reached, alone = (
        {
            seed: (~study.graph(data[seed], graph, seed).adjacency.isolated).double().numpy()
            for seed in data
        }
        for graph in (name, STRONG)
    )
    if share_a_log([*data.values()]):
        return estimate_difference(reached, alone, "items")
    gains = {seed: float((rows - alone[seed]).mean()) for seed, rows in reached.items()}
    return estimate_over_seeds(gains, n=sum(map(len, reached.values())), over="items")
