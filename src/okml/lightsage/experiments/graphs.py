"""The graph ablation: what each kind of edge adds, and two controls."""

from __future__ import annotations

import numpy as np
import polars as pl

from okml.lightsage.arms import Arm, GraphName
from okml.lightsage.baselines.popularity import feature_scorer
from okml.lightsage.comparison import Comparison
from okml.lightsage.prepared import Prepared
from okml.lightsage.ranking import Numbers, Scorer, Scores, vector_scorer
from okml.lightsage.study import Study
from okml.steps import StepResult, announced

SCARCE: tuple[GraphName, ...] = ("strong", "strong + swing", "strong + search", "full")
FEATURES, TRUTH = "features alone", "truth behind the clicks"

# Metric and the two graphs whose HR@10 it is the difference of.
DIFFERENCES: dict[str, tuple[GraphName, GraphName]] = {
    "hr10_gain_over_weak_graph": ("full", "weak"),
    "random_edges_hr10_gain_over_weak_graph": ("full, random edges", "weak"),
    "search_edges_hr10_gain": ("strong + search", "strong"),
    "shuffled_search_hr10_gain": ("strong + shuffled search", "strong"),
    "swing_hr10_gain": ("full", "strong + search"),
    "swing_hr10_gain_over_strong": ("strong + swing", "strong"),
    "swing_hr10_gain_over_cosine": ("full", "full, cosine for swing"),
    "strong_input_hr10_gain": ("full", "full, swing of all clicks"),
}


def graph_arm(study: Study, name: GraphName) -> Arm:
    """Return LightSAGE on a graph."""
    profile = study.profile
    return Arm(name=name, graph=name, loss=profile.loss, negatives=profile.negatives)


def measure_graphs(study: Study) -> StepResult:
    """Train LightSAGE on every graph of the ablation."""
    profile, result = study.profile, StepResult()
    comparison = study.comparison("full")
    rows = []
    for seed in profile.seeds:
        data = study.data(profile.data, seed)
        for name in profile.graphs:
            with announced(f"seed {seed}, graph {name}"):
                vectors = study.vectors(data, graph_arm(study, name), seed)
            comparison.add(name, seed, data, vector_scorer(vectors))
            rows.append(_graph_row(study, data, name, seed))
        comparison.add(FEATURES, seed, data, feature_scorer(data.shop.features))
        if data.shop.truth is not None:
            comparison.add(TRUTH, seed, data, truth_scorer(data.shop.truth))
        _log(result, comparison, pl.DataFrame(rows), seed)
    graphs = pl.DataFrame(rows).drop("seed").group_by("arm", maintain_order=True).mean()
    summary = comparison.summary().join(graphs, on="arm", how="left", maintain_order="left")
    result.frames = {"summary": summary, "seeds": comparison.per_seed()}
    return result


def measure_scarce_search(study: Study) -> StepResult:
    """Train on strong, strong + search and all edges where users seldom search."""
    profile, result = study.profile, StepResult()
    comparison = study.comparison("full")
    for seed in profile.seeds:
        data = study.data(profile.scarce_search, seed)
        for name in SCARCE:
            vectors = study.vectors(data, graph_arm(study, name), seed)
            comparison.add(name, seed, data, vector_scorer(vectors))
        gain = comparison.difference("full", "strong + search", "hr@10", seed)
        result.log("swing_hr10_gain_where_search_is_scarce", gain, seed=seed)
    result.frames = {"summary": comparison.summary(), "seeds": comparison.per_seed()}
    return result


def truth_scorer(truth: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Scorer:
    """Return what a model would score that knew where synthetic clicks come from."""
    squares = (truth**2).sum(1)

    def score(items: Numbers) -> Scores:
        distance = squares[items][:, None] + squares[None, :] - 2 * truth[items] @ truth.T
        scores: Scores = (-distance / truth.shape[1]).astype(np.float32)
        return scores

    return score


def _graph_row(study: Study, data: Prepared, name: GraphName, seed: int) -> dict[str, object]:
    graph = study.graph(data, name, seed)
    rows, known = graph.rows(), data.category >= 0
    both = known[rows] & known[graph.neighbors]
    same = data.category[rows] == data.category[graph.neighbors]
    weights = graph.weights[both]
    return {
        "arm": name,
        "seed": seed,
        "edges": float(len(graph)),
        "items with an edge": float(1 - graph.isolated.mean()),
        "same category": float(weights[same[both]].sum() / weights.sum()) if len(weights) else None,
    }


def _log(result: StepResult, comparison: Comparison, graphs: pl.DataFrame, seed: int) -> None:
    """Log the differences whose two graphs the profile has."""
    arms = set(comparison.arms)
    for metric, (name, other) in DIFFERENCES.items():
        if {name, other} <= arms:
            gain = comparison.difference(name, other, "hr@10", seed)
            result.log(metric, gain, seed=seed)
    result.log("hr10", comparison.metric("full", "hr@10", seed), seed=seed)
    covered = dict(graphs.filter(seed=seed).select("arm", "items with an edge").iter_rows())
    if "strong" in covered:
        result.log("coverage_gain", covered["full"] - covered["strong"], seed=seed)
