"""Metrics of many arms on the same pairs, and what may be said about their differences."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import Estimate, estimate_difference, estimate_mean, estimate_over_seeds
from okml.lightsage.prepared import Prepared
from okml.lightsage.ranking import Numbers, Rule, Scorer, rank_pairs, top_lists

Floats = NDArray[np.float64]
LIST = 10  # items of a list that coverage is about


@dataclass(frozen=True, eq=False)
class Outcome:
    """One arm on one set of pairs.

    Attributes:
        hits: Probability that the target is among the first ten, ``[p]``.
        metrics: By name; NaN where a slice has no pairs.
    """

    hits: Floats
    metrics: dict[str, float]


def evaluate(scorer: Scorer, data: Prepared) -> Outcome:
    """Rank the pairs of the test and describe the lists that the arm would show.

    Columns: ``hr@10``, ``hr@50``, ``hr@100``, ``recall@10`` (a mean over viewed items), ``mrr@20``,
    ``ndcg@20``; ``head`` and ``tail`` (hr@10 of pairs without and with an item of the tail),
    ``cold`` (of pairs whose target nobody clicked in training); ``ads`` (hr@10 among ads alone, of
    pairs whose target is one), ``other product`` (hr@10 of pairs of two products, other listings of
    the viewed one left out); of lists of ten: ``coverage`` (share of items in any), ``gini`` (of
    how often items are shown) and ``tail shown`` (share of places that hold an item of the tail).
    """
    pairs = data.test
    rules = (Rule(), Rule(candidates=data.ads), Rule(clones=data.clones))
    ranking, among_ads, elsewhere = rank_pairs(scorer, pairs.item, pairs.target, rules)
    hits = ranking.hit(LIST)
    tail = data.tail[pairs.item] | data.tail[pairs.target]
    shown, _ = top_lists(scorer, np.unique(pairs.item), np.ones(data.items, bool), LIST)
    metrics = {
        "hr@10": _mean(hits),
        "hr@50": _mean(ranking.hit(50)),
        "hr@100": _mean(ranking.hit(100)),
        "recall@10": _by_item(hits, pairs.item),
        "mrr@20": _mean(ranking.reciprocal_rank(20)),
        "ndcg@20": _mean(ranking.ndcg(20)),
        "head": _mean(hits[~tail]),
        "tail": _mean(hits[tail]),
        "cold": _mean(hits[data.cold[pairs.target]]),
        "ads": _mean(among_ads.where(among_ads.tied > 0).hit(LIST)),
        "other product": _mean(elsewhere.where(elsewhere.tied > 0).hit(LIST)),
        "coverage": len(np.unique(shown)) / data.items,
        "gini": gini(np.bincount(shown.ravel(), minlength=data.items)),
        "tail shown": float(data.tail[shown].mean()),
    }
    return Outcome(hits, metrics)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _by_item(hits: Floats, item: Numbers) -> float:
    _, code = np.unique(item, return_inverse=True)
    return float((np.bincount(code, weights=hits) / np.bincount(code)).mean())


def gini(counts: NDArray[np.integer]) -> float:
    """Return the Gini coefficient of counts: 0 where all are equal, near 1 where one has all."""
    ordered = np.sort(counts).astype(np.float64)
    n, total = len(ordered), ordered.sum()
    if total == 0:
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


@dataclass
class Comparison:
    """Outcomes by arm and seed; pairs may differ between seeds, not between arms.

    Attributes:
        reference: Arm that differences are from.
        outcomes: By arm and seed.
        items: Viewed items by seed, ``[p]``.
    """

    reference: str
    outcomes: dict[tuple[str, int], Outcome] = field(default_factory=dict)
    items: dict[int, Numbers] = field(default_factory=dict)

    def add(self, arm: str, seed: int, data: Prepared, scorer: Scorer) -> Outcome:
        """Evaluate an arm and keep the outcome."""
        self.items[seed] = data.test.item
        self.outcomes[arm, seed] = evaluate(scorer, data)
        return self.outcomes[arm, seed]

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order they came."""
        return list(dict.fromkeys(arm for arm, _ in self.outcomes))

    def seeds(self, arm: str) -> list[int]:
        """Return the seeds of an arm."""
        return [seed for name, seed in self.outcomes if name == arm]

    def metric(self, arm: str, metric: str, seed: int) -> float:
        """Return one number."""
        return self.outcomes[arm, seed].metrics[metric]

    def difference(self, arm: str, other: str, metric: str, seed: int) -> float:
        """Return what an arm has more than another."""
        return self.metric(arm, metric, seed) - self.metric(other, metric, seed)

    def per_seed(self) -> pl.DataFrame:
        """Return a row an arm and seed."""
        return pl.DataFrame(
            [
                {"arm": arm, "seed": seed, **outcome.metrics}
                for (arm, seed), outcome in self.outcomes.items()
            ]
        )

    def summary(self) -> pl.DataFrame:
        """Return a row an arm: means over seeds, and 95 % intervals of HR@10 over viewed items."""
        rows = self.per_seed().fill_nan(None).group_by("arm", maintain_order=True)
        means = rows.agg(
            pl.len().alias("seeds"),
            pl.col("hr@10").std().alias("sd"),
            pl.exclude("arm", "seed").mean(),
        )
        bounds = []
        for arm in self.arms:
            seeds = [s for s in self.seeds(arm) if s in self.seeds(self.reference)]
            interval, gap = self._estimate(arm, seeds), None
            if arm != self.reference:  # which does not differ from itself
                gap = self._estimate(arm, seeds, self.reference)
            difference = (gap.mean, gap.low, gap.high) if gap else (None, None, None)
            bounds.append((arm, interval.low, interval.high, *difference))
        columns = ("low", "high", "difference", "difference low", "difference high")
        schema = {"arm": pl.String, **dict.fromkeys(columns, pl.Float64)}
        frame = pl.DataFrame(bounds, schema=schema, orient="row")
        return means.join(frame, on="arm", maintain_order="left")

    def _estimate(self, arm: str, seeds: list[int], less: str | None = None) -> Estimate:
        """Return HR@10, or its difference from another arm's, over pairs and seeds.

        The pairs are those of one log, or of a shop that each seed has to itself.
        """
        own = {seed: self.outcomes[arm, seed].hits for seed in seeds}
        other = {seed: self.outcomes[less, seed].hits for seed in seeds} if less else None
        viewed = [self.items[seed] for seed in seeds]
        if all(np.array_equal(viewed[0], items) for items in viewed[1:]):
            if other is None:
                return estimate_mean(own, "items", clusters=viewed[0])
            return estimate_difference(own, other, "items", clusters=viewed[0])
        means = {
            seed: float((hits if other is None else hits - other[seed]).mean())
            for seed, hits in own.items()
        }
        count = sum(len(np.unique(items)) for items in viewed)
        return estimate_over_seeds(means, n=count, over="items")
