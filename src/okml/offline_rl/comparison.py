"""Comparison of the chapter's arms on the same rows, with gaps between wanted and other targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import Estimate, estimate_statistic
from okml.seqrec.comparison import RankedArms
from okml.seqrec.metrics import Floats

CUTOFFS = (5, 10, 20)
CELLS = tuple(f"{name}@{k}" for name in ("hr", "ndcg") for k in CUTOFFS)  # for each data set


@dataclass
class Comparison(RankedArms):
    """The arms of the chapter on the test rows of one data set.

    Attributes:
        wanted: Whether each row's target was wanted (liked, bought), ``[r]``.
    """

    wanted: NDArray[np.bool_] = field(kw_only=True)

    def liked_gap(self, arm: str, seed: int, metric: str = "hr@10") -> float:
        """Return the metric on wanted targets less that on others; NaN if either is missing."""
        return _gap(self.rows(arm, metric, seed), self.wanted)

    def liked_gap_estimate(
        self, arm: str, less: str | None = None, metric: str = "hr@10"
    ) -> Estimate:
        """Return an arm's gap, or the difference from another arm's, with its interval.

        Args:
            arm: The name of the arm.
            less: The arm whose gap is subtracted, on the same rows; None for none.
            metric: The name of the metric.
        """
        seeds = self.seeds(arm) if less is None else self.common_seeds(arm, less)
        values = {seed: self.rows(arm, metric, seed) for seed in seeds}
        others = {seed: self.rows(less, metric, seed) for seed in seeds} if less else {}

        def gap(rows: NDArray[np.int64], seed: int) -> float:
            wanted = self.wanted[rows]
            other = _gap(others[seed][rows], wanted) if less else 0.0
            return _gap(values[seed][rows], wanted) - other

        return estimate_statistic(gap, len(self.users), "users", seeds=seeds, clusters=self.users)

    def table(self, labels: Mapping[str, str], reference: str) -> pl.DataFrame:
        """Return a row for each arm: means, sd over seeds, and NDCG@10 less the reference's."""
        rows = []
        for arm in self.arms:
            seeds = self.seeds(arm)
            row: dict[str, object] = {"arm": arm, "label": labels.get(arm, arm)}
            row["seeds"] = len(seeds)
            for cell in CELLS:
                row[cell] = float(np.mean([self.metric(arm, cell, seed) for seed in seeds]))
            ndcg = [self.metric(arm, "ndcg@10", seed) for seed in seeds]
            row["sd"] = float(np.std(ndcg, ddof=1)) if len(ndcg) > 1 else None
            row["gap"] = float(np.mean([self.liked_gap(arm, seed) for seed in seeds]))
            gain = None
            if arm != reference:
                gain = self.difference(arm, reference, "ndcg@10")
            row["difference"] = None if gain is None else gain.mean
            row["low"] = None if gain is None else gain.low
            row["high"] = None if gain is None else gain.high
            rows.append(row)
        return pl.DataFrame(rows, infer_schema_length=None)

    def on_wanted(self) -> Comparison:
        """Return the comparison on wanted targets only, or on all if there are none."""
        kept = self.wanted if self.wanted.any() else np.ones(len(self.wanted), dtype=bool)
        ranks = {key: of[kept] for key, of in self.ranks.items()}
        return Comparison(self.users[kept], ranks, wanted=self.wanted[kept])


def _gap(values: Floats, wanted: NDArray[np.bool_]) -> float:
    if wanted.all() or not wanted.any():
        return float("nan")
    return float(values[wanted].mean() - values[~wanted].mean())
