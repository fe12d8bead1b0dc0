"""Metrics of arms on the same pairs, with intervals and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import (
    Estimate,
    Measurements,
    estimate_difference,
    estimate_mean,
    estimate_over_seeds,
)
from okml.lightsage.ranking import Numbers, Rule, Scorer, rank_pairs, top_lists
from okml.lightsage.task import RetrievalTask
from okml.seqrec.metrics import user_mean

Floats = NDArray[np.float64]
LIST = 10  # length of the lists in coverage, Gini and HR
# A slice of the test pairs: the name of one of ``slices``, or a mask ``[p]`` for each seed.
Slice = str | Mapping[int, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class PairMetrics:
    """The metrics of one arm on one set of pairs.

    Attributes:
        hits: Probability that the target is among the first ten, ``[p]``.
        metrics: Metrics by name; NaN for a slice without pairs.
    """

    hits: Floats
    metrics: dict[str, float]


def slices(data: RetrievalTask) -> dict[str, NDArray[np.bool_]]:
    """Return the mask of the test pairs in each slice, ``[p]`` each.

    ``hr@10`` has all pairs; ``head`` and ``tail`` those without and with an item of the tail;
    ``tail target`` those whose target, which is to be found, is of the tail; ``cold`` those whose
    target has no click in training; ``clones`` those of two listings of one product, which are the
    easiest.
    """
    pairs, product = data.test, data.shop.items["product"].to_numpy()
    tail = data.tail[pairs.item] | data.tail[pairs.target]
    return {
        "hr@10": np.ones(len(pairs), bool),
        "head": ~tail,
        "tail": tail,
        "tail target": data.tail[pairs.target],
        "cold": data.cold[pairs.target],
        "clones": product[pairs.item] == product[pairs.target],
    }


def evaluate(scorer: Scorer, data: RetrievalTask) -> PairMetrics:
    """Rank the test pairs and describe the lists that the arm would show.

    Columns: ``hr@10``, ``hr@50``, ``hr@100``, ``recall@10`` (a mean over viewed items), ``mrr@20``,
    ``ndcg@20``; hr@10 of the ``slices``; ``ads`` (hr@10 among ads alone, of pairs whose target is
    one), ``other product`` (hr@10 of pairs of two products, other listings of the viewed one left
    out); of lists of ten: ``coverage`` (share of items in any), ``gini`` (of how often items are
    shown) and ``tail shown`` (share of places that hold an item of the tail).
    """
    pairs = data.test
    rules = (Rule(), Rule(candidates=data.ads), Rule(clones=data.clones))
    ranking, among_ads, elsewhere = rank_pairs(scorer, pairs.item, pairs.target, rules)
    hits = ranking.hit(LIST)
    shown = top_lists(scorer, np.unique(pairs.item), LIST)  # [q, 10]
    metrics = {
        "hr@50": _mean(ranking.hit(50)),
        "hr@100": _mean(ranking.hit(100)),
        "recall@10": user_mean(hits, pairs.item),
        "mrr@20": _mean(ranking.reciprocal_rank(20)),
        "ndcg@20": _mean(ranking.ndcg(20)),
        "ads": _mean(among_ads.where(among_ads.tied > 0).hit(LIST)),
        "other product": _mean(elsewhere.where(elsewhere.tied > 0).hit(LIST)),
        "coverage": len(np.unique(shown)) / data.items,
        "gini": gini(np.bincount(shown.ravel(), minlength=data.items)),
        "tail shown": float(data.tail[shown].mean()),
    }
    of_slices = {name: _mean(hits[inside]) for name, inside in slices(data).items()}
    return PairMetrics(hits, of_slices | metrics)


def validation_ndcg(scorer: Scorer, data: RetrievalTask) -> float:
    """Return NDCG@10 of the validation pairs, which is less noisy than HR@10."""
    (ranking,) = rank_pairs(scorer, data.valid.item, data.valid.target)
    return _mean(ranking.ndcg(LIST))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def gini(counts: NDArray[np.integer]) -> float:
    """Return the Gini coefficient of counts, ``[n]``: 0 if all are equal, near 1 if one has all."""
    ordered = np.sort(counts).astype(np.float64)
    n, total = len(ordered), ordered.sum()
    if total == 0:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


@dataclass
class PairedComparison:
    """The outcomes of arms by seed.

    Seeds share the pairs of one log, or each seed has those of its own synthetic shop.

    Attributes:
        reference: Name of the arm that differences are relative to.
        outcomes: Outcomes by arm and seed.
        data: Data sets by seed.
    """

    reference: str
    outcomes: dict[tuple[str, int], PairMetrics] = field(default_factory=dict)
    data: dict[int, RetrievalTask] = field(default_factory=dict)

    def add(self, arm: str, seed: int, data: RetrievalTask, scorer: Scorer) -> PairMetrics:
        """Evaluate an arm and keep the outcome."""
        self.data[seed] = data
        self.outcomes[arm, seed] = evaluate(scorer, data)
        return self.outcomes[arm, seed]

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in insertion order."""
        return list(dict.fromkeys(arm for arm, _ in self.outcomes))

    def seeds(self, arm: str) -> list[int]:
        """Return the seeds of an arm."""
        return [seed for name, seed in self.outcomes if name == arm]

    def per_seed(self) -> pl.DataFrame:
        """Return the metrics in a row for each arm and seed."""
        return pl.DataFrame(
            [
                {"arm": arm, "seed": seed, **outcome.metrics}
                for (arm, seed), outcome in self.outcomes.items()
            ]
        )

    def summary(self) -> pl.DataFrame:
        """Return a row for each arm: means over seeds, and 95 % intervals of HR@10 over users."""
        rows = self.per_seed().fill_nan(None).group_by("arm", maintain_order=True)
        means = rows.agg(
            pl.len().alias("seeds"),
            pl.col("hr@10").std().alias("sd"),
            pl.exclude("arm", "seed").mean(),
        )
        bounds = []
        for arm in self.arms:
            interval, gap = self.estimate(arm), None
            if arm != self.reference:  # the reference has no difference
                gap = self.difference(arm, self.reference)
            difference = (gap.mean, gap.low, gap.high) if gap else (None, None, None)
            bounds.append((arm, interval.low, interval.high, *difference))
        columns = ("low", "high", "difference", "difference low", "difference high")
        schema = {"arm": pl.String, **dict.fromkeys(columns, pl.Float64)}
        frame = pl.DataFrame(bounds, schema=schema, orient="row")
        return means.join(frame, on="arm", maintain_order="left")

    def estimate(self, arm: str, part: Slice = "hr@10") -> Estimate:
        """Return HR@10 on a slice of the pairs, over users and seeds."""
        seeds = self.seeds(arm)
        rows = [self._rows(arm, seed, part) for seed in seeds]
        if share_a_log([self.data[seed] for seed in seeds]):
            by_seed = dict(zip(seeds, rows, strict=True))
            return estimate_mean(by_seed, "users", clusters=self._users(seeds[0], part))
        return self._of_shops(dict(zip(seeds, map(_mean, rows), strict=True)), part)

    def difference(self, arm: str, less: str, part: Slice = "hr@10") -> Estimate:
        """Return the paired difference of two arms on a slice, over users and seeds."""
        seeds = [seed for seed in self.seeds(arm) if seed in self.seeds(less)]
        own, other = (
            {seed: self._rows(name, seed, part) for seed in seeds} for name in (arm, less)
        )
        if share_a_log([self.data[seed] for seed in seeds]):
            users = self._users(seeds[0], part)
            return estimate_difference(own, other, "users", clusters=users)
        return self._of_shops({seed: _mean(own[seed] - other[seed]) for seed in seeds}, part)

    def _of_shops(self, means: dict[int, float], part: Slice) -> Estimate:
        count = sum(len(np.unique(self._users(seed, part))) for seed in means)
        return estimate_over_seeds(means, n=count, over="users")

    def _rows(self, arm: str, seed: int, part: Slice) -> Floats:
        return self.outcomes[arm, seed].hits[self._inside(seed, part)]

    def _users(self, seed: int, part: Slice) -> Numbers:
        return self.data[seed].test.user[self._inside(seed, part)]

    def _inside(self, seed: int, part: Slice) -> NDArray[np.bool_]:
        return slices(self.data[seed])[part] if isinstance(part, str) else part[seed]


def share_a_log(data: Sequence[RetrievalTask]) -> bool:
    """Return whether all seeds share a log; each draws its own synthetic shop."""
    return len(data) == 1 or not data[0].shop.synthetic


def same_pairs(
    data: Mapping[int, RetrievalTask], masks: Mapping[int, NDArray[np.bool_]]
) -> dict[int, NDArray[np.bool_]]:
    """Return masks of test pairs, ``[p]``, by seed, of which seeds that share a log share one.

    An interval over users of one log needs the same pairs for every seed: those of any mask.
    """
    if not share_a_log([*data.values()]):
        return dict(masks)
    of_any: NDArray[np.bool_] = np.any([*masks.values()], axis=0)
    return dict.fromkeys(masks, of_any)


def measure_gain(
    result: Measurements,
    comparison: PairedComparison,
    name: str,
    arms: tuple[str, str],
    control: tuple[str, str] | None = None,
    part: Slice = "hr@10",
) -> None:
    """Measure the gain of one arm over another, and compare it with a control's gain.

    Args:
        result: Result to which the metrics are added.
        comparison: Outcomes of the arms; without one of both arms, nothing is measured.
        name: Name of the metric.
        arms: Names of the arm and of its baseline.
        control: Names of the control's metric and of its arm.
        part: Slice of the pairs.
    """
    arm, less = arms
    if not {arm, less} <= set(comparison.arms):
        return
    result.measure(name, comparison.difference(arm, less, part))
    if control is not None and control[1] in comparison.arms:
        result.measure(control[0], comparison.difference(control[1], less, part))
        result.compare(name, control[0], comparison.difference(arm, control[1], part))
