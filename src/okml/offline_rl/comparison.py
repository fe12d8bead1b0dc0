"""Ranks of many arms on the same rows, and what may be said about their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.seqrec.bootstrap import resampled_means
from okml.seqrec.comparison import RankedArms

CUTOFFS = (5, 10, 20)
CELLS = tuple(f"{name}@{k}" for name in ("hr", "ndcg") for k in CUTOFFS)  # of one data set


@dataclass
class Comparison(RankedArms):
    """The arms of the chapter on the test rows of one data set.

    Attributes:
        wanted: Whether each row's target was wanted (liked, bought), ``[r]``.
    """

    wanted: NDArray[np.bool_] = field(kw_only=True)

    def liked_gap(self, arm: str, seed: int, metric: str = "hr@10") -> float:
        """Return the metric on wanted targets, less that on others; NaN if a kind is missing."""
        values = self.rows(arm, metric, seed)
        if self.wanted.all() or not self.wanted.any():
            return float("nan")
        return float(values[self.wanted].mean() - values[~self.wanted].mean())

    def ratio(
        self, arm: str, reference: str, metric: str, seed: int | None = None
    ) -> tuple[float, float, float]:
        """Return an arm's mean over the reference's, with its interval: users are resampled."""
        seeds = self.common_seeds(arm, reference) if seed is None else [seed]
        values = np.stack([self.values(name, metric, seeds) for name in (arm, reference)], axis=1)
        means = resampled_means(values, self.users, self.resamples)
        ratios = means[:, 0] / np.maximum(means[:, 1], 1e-12)
        low, high = np.quantile(ratios, [0.025, 0.975])
        center = values[:, 0].mean() / max(float(values[:, 1].mean()), 1e-12)
        return float(center), float(low), float(high)

    def table(self, labels: Mapping[str, str], reference: str) -> pl.DataFrame:
        """Return a row an arm: means and standard deviations, and NDCG@10 less the reference's."""
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
        """Return the comparison on wanted targets alone; on all where none was."""
        kept = self.wanted if self.wanted.any() else np.ones(len(self.wanted), dtype=bool)
        ranks = {key: of[kept] for key, of in self.ranks.items()}
        return Comparison(self.users[kept], self.resamples, ranks, wanted=self.wanted[kept])

    def wins(self, arm: str, rivals: Sequence[str], seed: int) -> int:
        """Return in how many cells an arm is above all rivals with one seed."""
        return sum(
            self.metric(arm, cell, seed)
            > max(self.metric(rival, cell, min(seed, max(self.seeds(rival)))) for rival in rivals)
            for cell in CELLS
        )

    def certain_wins(self, arm: str, rivals: Sequence[str]) -> int:
        """Return in how many cells the interval of the difference from every rival is above 0."""
        return sum(
            all(self.difference(arm, rival, cell).above(0) for rival in rivals) for cell in CELLS
        )
