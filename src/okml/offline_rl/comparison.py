"""Comparison of the chapter's arms on the same rows, with gaps between wanted and other targets."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import Estimate, estimate_statistic
from okml.offline_rl.arms import ARMS, CONTROL
from okml.offline_rl.data import MDPDataset
from okml.offline_rl.trainer import CUTOFFS
from okml.seqrec.comparison import RankedArms
from okml.seqrec.metrics import Floats

CELLS = tuple(f"{name}@{k}" for name in ("hr", "ndcg") for k in CUTOFFS)  # metrics of each data set


@dataclass
class RewardedArms(RankedArms):
    """The arms of the chapter on the test rows of one data set.

    Attributes:
        wanted: Whether each row's target was wanted (liked, bought), ``[r]``.
    """

    wanted: NDArray[np.bool_] = field(kw_only=True)

    @classmethod
    def of(cls, data: MDPDataset) -> RewardedArms:
        """Return a comparison on the test rows without arms."""
        wanted = data.episodes.rewards[data.test.end] >= data.wanted
        return cls(data.test.user, wanted=wanted)

    def liked_gap(self, arm: str, seed: int) -> float:
        """Return HR@10 on wanted targets less that on others; NaN if either is missing."""
        return _gap(self.rows(arm, "hr@10", seed), self.wanted)

    def liked_gap_estimate(self, arm: str, less: str | None = None) -> Estimate:
        """Return an arm's gap, less that of another arm on the same rows if one is given."""
        seeds = self.seeds(arm) if less is None else self.common_seeds(arm, less)
        values = {seed: self.rows(arm, "hr@10", seed) for seed in seeds}
        others = {seed: self.rows(less, "hr@10", seed) for seed in seeds} if less else {}

        def gap(rows: NDArray[np.int64], seed: int) -> float:
            wanted = self.wanted[rows]
            other = _gap(others[seed][rows], wanted) if less else 0.0
            return _gap(values[seed][rows], wanted) - other

        return estimate_statistic(gap, len(self.users), "users", seeds=seeds, clusters=self.users)

    def table(self) -> pl.DataFrame:
        """Return a row for each arm: means, sd over seeds, and NDCG@10 less the control's."""
        rows = []
        for arm in self.arms:
            seeds = self.seeds(arm)
            ndcg = [self.metric(arm, "ndcg@10", seed) for seed in seeds]
            gain = None if arm == CONTROL else self.difference(arm, CONTROL, "ndcg@10")
            rows.append(
                {"arm": arm, "label": ARMS[arm].label, "seeds": len(seeds)}
                | {
                    cell: float(np.mean([self.metric(arm, cell, seed) for seed in seeds]))
                    for cell in CELLS
                }
                | {
                    "sd": float(np.std(ndcg, ddof=1)) if len(ndcg) > 1 else None,
                    "gap": float(np.mean([self.liked_gap(arm, seed) for seed in seeds])),
                    "difference": gain and gain.mean,
                    "low": gain and gain.low,
                    "high": gain and gain.high,
                }
            )
        return pl.DataFrame(rows, infer_schema_length=None)

    def on_wanted(self) -> RewardedArms:
        """Return the comparison on wanted targets only, or on all if there are none."""
        kept = self.wanted if self.wanted.any() else np.ones(len(self.wanted), dtype=bool)
        ranks = {key: of[kept] for key, of in self.ranks.items()}
        return RewardedArms(self.users[kept], ranks, wanted=self.wanted[kept])


def _gap(values: Floats, wanted: NDArray[np.bool_]) -> float:
    if wanted.all() or not wanted.any():
        return float("nan")
    return float(values[wanted].mean() - values[~wanted].mean())
