"""The graph ablation: the gain of each kind of edge, and controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import Estimate, estimate_difference, estimate_over_seeds
from okml.lightsage.arms import (
    COVERAGE_SEEDS,
    CUTS,
    Rows,
    graph_jobs,
    in_view_jobs,
    scarce_search_jobs,
    shops_of_coverage,
)
from okml.lightsage.comparison import PairedComparison, measure_gain, same_pairs, share_a_log
from okml.lightsage.experiments.protocol import share_within
from okml.lightsage.graph.ablation import GraphName
from okml.lightsage.settings import TaskSettings
from okml.lightsage.study import Study
from okml.steps import StepResult

STRONG: GraphName = "strong"
SEARCH: GraphName = "strong + search"
SHUFFLED: GraphName = "strong + shuffled search"


class Gain(NamedTuple):
    """The gain of one graph over another, and its control: the best of some graphs."""

    metric: str
    graphs: tuple[GraphName, GraphName]
    control: str = ""  # metric of the control
    controls: tuple[GraphName, ...] = ()  # validation chooses one
    few: bool = False  # whether few edges differ, so that pairs beside them are measured, too


GAINS = (
    Gain(
        "strong_hr10_gain_over_weak_graph",
        ("strong", "weak"),
        "fewer_edges_hr10_gain_over_weak_graph",
        CUTS,
    ),
    Gain(
        "search_edges_hr10_gain",
        ("strong + search", "strong"),
        "shuffled_within_types_hr10_gain",
        ("strong + shuffled search",),
    ),
    Gain("swing_hr10_gain", ("full", "strong + search")),
    Gain("swing_hr10_gain_over_strong", ("strong + swing", "strong")),
    Gain(
        "swing_hr10_gain_over_cosine",
        ("full", "full, cosine for swing"),
        "neither_hr10_gain_over_cosine",
        ("strong + search",),
        few=True,
    ),
    Gain("strong_input_hr10_gain", ("full", "full, swing of all clicks"), few=True),
    Gain("strong_input_hr10_gain_over_all", ("full", "full, all swing of all clicks")),
)
IN_VIEW = Gain(
    "strong_hr10_gain_in_view", ("strong", "weak"), "fewer_edges_hr10_gain_in_view", CUTS
)
WHERE_SEARCH_IS_SCARCE = Gain("swing_hr10_gain_where_search_is_scarce", ("full", "strong + search"))
# Graphs whose coverage is compared with that of strong edges alone.
REACHING: dict[str, GraphName] = {
    "search_coverage_gain": "strong + search",
    "swing_coverage_gain": "strong + swing",
}


def measure_graphs(study: Study) -> StepResult:
    """Train LightSAGE on every graph of the ablation."""
    profile, result, jobs = study.profile, StepResult(), graph_jobs(study.profile)
    comparison = study.compare(jobs, "full")
    for gain in GAINS:
        _measure(result, study, comparison, jobs, gain)
        if gain.few and set(gain.graphs) <= set(profile.graphs):
            _measure_beside_edges(result, study, comparison, gain)
    if {SEARCH, SHUFFLED} <= set(profile.graphs):
        _count_true_edges(result, study, comparison)
    result.measure("hr10", comparison.estimate("full"))
    for metric, name in REACHING.items():
        if {name, STRONG} <= set(profile.graphs):
            result.measure(metric, coverage_gain(study, profile.data, name, profile.seeds))
    for metric, settings in shops_of_coverage(profile).items():
        few = profile.seeds[:COVERAGE_SEEDS]
        result.measure(metric, coverage_gain(study, settings, "strong + swing", few))
    sizes = _sizes(study, comparison)
    summary = comparison.summary().join(sizes, on="arm", how="left", maintain_order="left")
    result.frames = {"summary": summary, "seeds": comparison.per_seed()}
    return result


def _sizes(study: Study, comparison: PairedComparison) -> pl.DataFrame:
    """Return how large and how pure each graph is, means over seeds, a row for each."""
    rows = []
    for seed, data in comparison.data.items():
        for name in study.profile.graphs:
            graph = study.graph(data, name, seed)
            rows.append(
                {
                    "arm": name,
                    "edges": float(graph.edges.height),
                    "items with an edge": float(1 - graph.adjacency.isolated.numpy().mean()),
                    "same category": share_within(graph.edges, data.category),
                }
            )
    return pl.DataFrame(rows).group_by("arm", maintain_order=True).mean()


def measure_scarce_search(study: Study) -> StepResult:
    """Train on graphs with and without Swing on a shop with few searches."""
    return _measure_shop(study, scarce_search_jobs(study.profile), "full", WHERE_SEARCH_IS_SCARCE)


def measure_in_view(study: Study) -> StepResult:
    """Train on strong and on weak edges of a shop whose feed, too, follows the item in view."""
    return _measure_shop(study, in_view_jobs(study.profile), STRONG, IN_VIEW)


def _measure_shop(study: Study, rows: Rows, reference: GraphName, gain: Gain) -> StepResult:
    """Measure one gain on a shop beside the main one; the frames are empty without the shop."""
    result = StepResult(frames={"summary": pl.DataFrame(), "seeds": pl.DataFrame()})
    if rows:
        comparison = study.compare(rows, reference)
        _measure(result, study, comparison, rows, gain)
        result.frames = {"summary": comparison.summary(), "seeds": comparison.per_seed()}
    return result


def _measure(
    result: StepResult, study: Study, comparison: PairedComparison, rows: Rows, gain: Gain
) -> None:
    """Measure a gain and its control, and count the arms of both that were still rising."""
    if not set(gain.graphs) <= set(comparison.arms):
        return
    arms: list[str] = [*gain.graphs]
    control = None
    if set(gain.controls) & set(comparison.arms):
        control = gain.control, study.best(rows, gain.controls)
        arms.append(control[1])
    measure_gain(result, comparison, gain.metric, gain.graphs, control)
    result.log(f"rising_in_{gain.metric}", study.not_flat(rows, arms), exact=True)


def _measure_beside_edges(
    result: StepResult, study: Study, comparison: PairedComparison, gain: Gain
) -> None:
    """Measure a gain on the test pairs beside edges that only one of the graphs has.

    Seeds that share a log share its pairs, too: those that are beside such an edge with any seed.
    """
    changed = {}
    for seed, data in comparison.data.items():
        one, other = (study.graph(data, name, seed).edges for name in gain.graphs)
        ends = changed_items(one, other, data.items)
        changed[seed] = ends[data.test.item] | ends[data.test.target]  # [p]
    beside = same_pairs(comparison.data, changed)
    for seed, mask in beside.items():
        share = float(mask.mean())
        result.log(f"{gain.metric}_share_beside_other_edges", share, seed=seed)
    if all(mask.any() for mask in beside.values()):
        name = f"{gain.metric}_beside_other_edges"
        measure_gain(result, comparison, name, gain.graphs, part=beside)


def changed_items(one: pl.DataFrame, other: pl.DataFrame, items: int) -> NDArray[np.bool_]:
    """Return the items with a neighbor that only one of two graphs has, ``[N]``.

    Args:
        one: Edges ``item, neighbor`` of a graph, in both directions.
        other: Edges of another graph of the same items.
        items: Number of items N.
    """
    ends = ["item", "neighbor"]
    alone = [a.join(b, on=ends, how="anti") for a, b in ((one, other), (other, one))]
    changed = np.zeros(items, bool)
    changed[pl.concat(frame.select("item") for frame in alone).to_series().to_numpy()] = True
    return changed


def _count_true_edges(result: StepResult, study: Study, comparison: PairedComparison) -> None:
    """Log the share of shuffled search edges that are search edges.

    It is large where few other pairs have the same categories and types.
    """
    for seed, data in comparison.data.items():
        shuffled, true = (
            study.graph(data, name, seed).edges.filter(part="search") for name in (SHUFFLED, SEARCH)
        )
        common = shuffled.join(true, on=["item", "neighbor"], how="semi").height
        share = common / max(1, shuffled.height)
        result.log("true_edges_among_shuffled", share, seed=seed)


def coverage_gain(
    study: Study, settings: TaskSettings, name: GraphName, seeds: Sequence[int]
) -> Estimate:
    """Return the gain in the share of items with an edge over strong edges alone."""
    data = {seed: study.data(settings, seed) for seed in seeds}
    reached, alone = (
        {
            seed: (~study.graph(data[seed], graph, seed).adjacency.isolated).double().numpy()
            for seed in seeds
        }
        for graph in (name, STRONG)
    )
    if share_a_log([*data.values()]):
        return estimate_difference(reached, alone, "items")
    gains = {seed: float((rows - alone[seed]).mean()) for seed, rows in reached.items()}
    return estimate_over_seeds(gains, n=sum(map(len, reached.values())), over="items")
