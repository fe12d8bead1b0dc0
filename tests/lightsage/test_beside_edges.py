"""Gains beside the edges that differ, where seeds share a log but draw their graphs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from okml.lightsage.arms import LEAKING
from okml.lightsage.baselines.untrained import random_scorer
from okml.lightsage.comparison import PairedComparison
from okml.lightsage.experiments.graphs import Gain, _measure_beside_edges
from okml.lightsage.experiments.networks import _measure_at_neighbors
from okml.lightsage.graph import MergeSettings, graph_of
from okml.lightsage.graph.edges import EDGE_SCHEMA
from okml.lightsage.settings import TaskSettings
from okml.lightsage.study import Study
from okml.lightsage.task import RetrievalTask, open_task
from okml.steps import StepResult
from tests.lightsage.tiny import SHOP

STRONG = MergeSettings(parts=("strong",))
GAIN = Gain("gain", ("full", "strong"), few=True)


def a_log(synthetic: bool) -> RetrievalTask:
    """Return a small log, which each seed draws anew if it is synthetic."""
    task = open_task(TaskSettings(name="synthetic", shop=SHOP), 0)
    return replace(task, shop=replace(task.shop, synthetic=synthetic))


def compared(log: RetrievalTask, arms: tuple[str, str]) -> PairedComparison:
    """Return a comparison of two arms that rank at random, for two seeds."""
    comparison = PairedComparison(arms[0])
    for seed in (0, 1):
        for number, arm in enumerate(arms):
            comparison.add(arm, seed, log, random_scorer(log.items, 2 * seed + number))
    return comparison


def measured(synthetic: bool) -> tuple[PairedComparison, list[list[int]], StepResult]:
    """Return a comparison, the items with an edge in each seed's graph, and what is measured."""
    log, result = a_log(synthetic), StepResult()
    viewed = np.unique(log.test.item).tolist()
    ends = [viewed[0:20:2], viewed[1:20:2]]

    def graph(data: object, name: str, seed: int) -> Any:
        rows = [(item, 0, 1.0) for item in ends[seed]] if name == "full" else []
        return SimpleNamespace(edges=pl.DataFrame(rows, schema=EDGE_SCHEMA, orient="row"))

    comparison = compared(log, GAIN.graphs)
    _measure_beside_edges(result, cast(Study, SimpleNamespace(graph=graph)), comparison, GAIN)
    return comparison, ends, result


@pytest.mark.parametrize("synthetic", [True, False])
def test_seeds_of_one_log_are_measured_on_the_pairs_beside_the_edges_of_any(
    synthetic: bool,
) -> None:
    comparison, ends, result = measured(synthetic)
    gains, shares = [], []
    for seed, data in comparison.data.items():
        known = ends[seed] if synthetic else ends[0] + ends[1]
        beside = np.isin(data.test.item, known) | np.isin(data.test.target, known)
        one, other = (comparison.outcomes[arm, seed].hits for arm in GAIN.graphs)
        gains.append((one - other)[beside].mean())
        shares.append(beside.mean())
    assert result.values("gain_beside_other_edges") == pytest.approx(gains)
    assert result.values("gain_share_beside_other_edges") == pytest.approx(shares)


@pytest.mark.parametrize("synthetic", [True, False])
def test_pairs_at_neighbors_are_those_that_the_graph_joins(synthetic: bool) -> None:
    log, result = a_log(synthetic), StepResult()
    pairs = [*zip(log.test.item.tolist(), log.test.target.tolist(), strict=True)]
    joined = [{frozenset(pair) for pair in pairs[first:30:3]} for first in (0, 1)]

    def graph(data: object, name: str, seed: int) -> Any:
        rows = [
            (*both, 1.0) for pair in joined[seed] for both in (sorted(pair), sorted(pair)[::-1])
        ]
        return graph_of(
            {"strong": pl.DataFrame(rows, EDGE_SCHEMA, orient="row")}, log.items, STRONG
        )

    comparison = compared(log, ("V0", LEAKING))
    _measure_at_neighbors(result, cast(Study, SimpleNamespace(graph=graph)), comparison)
    gains: dict[str, list[float]] = {"at_neighbors": [], "elsewhere": []}
    for seed in (0, 1):
        known = joined[seed] if synthetic else joined[0] | joined[1]
        mask = np.array([frozenset(pair) in known for pair in pairs])
        one, other = (comparison.outcomes[arm, seed].hits for arm in ("V0", LEAKING))
        gains["at_neighbors"].append((one - other)[mask].mean())
        gains["elsewhere"].append((one - other)[~mask].mean())
    for where, values in gains.items():
        assert result.values(f"leave_edge_out_hr10_gain_{where}") == pytest.approx(values)
