"""Ranks of many arms on the same rows, and what may be said about their differences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.seqrec.bootstrap import Estimate, mean_intervals, paired_differences
from okml.seqrec.metrics import Floats, mean_metrics, row_metrics, user_mean
from okml.seqrec.ranking import Ranks

METRICS = ("hr@10", "mrr@10", "ndcg@10")  # the columns of the paper's Table 2


@dataclass
class Comparison:
    """The ranks of each arm and seed on the test rows of one data set.

    Attributes:
        users: Of each row, ``[r]``.
        resamples: Of the users, for intervals.
        ranks: By arm and seed, ``[r]`` each.
    """

    users: NDArray[np.integer]
    resamples: int
    ranks: dict[tuple[str, int], Ranks] = field(default_factory=dict)

    def add(self, arm: str, seed: int, ranks: Ranks) -> None:
        """Keep the ranks of one arm and seed."""
        if len(ranks) != len(self.users):
            raise ParameterError(f"{len(ranks)} ranks for {len(self.users)} rows.")
        self.ranks[arm, seed] = ranks

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order they came."""
        return list(dict.fromkeys(arm for arm, _ in self.ranks))

    def seeds(self, arm: str) -> list[int]:
        """Return the seeds that an arm was run with."""
        return [seed for name, seed in self.ranks if name == arm]

    def metric(self, arm: str, metric: str, seed: int) -> float:
        """Return the mean over rows."""
        return mean_metrics(self.ranks[arm, seed])[metric]

    def per_seed(self) -> pl.DataFrame:
        """Return a row an arm and seed: means over rows, and NDCG@10 as a mean over users."""
        rows = []
        for (arm, seed), ranks in self.ranks.items():
            ndcg = row_metrics(ranks)["ndcg@10"]
            means = mean_metrics(ranks)
            rows.append(
                {
                    "arm": arm,
                    "seed": seed,
                    **{name: means[name] for name in METRICS},
                    "ndcg@10 by user": user_mean(ndcg, self.users),
                }
            )
        return pl.DataFrame(rows)

    def values(self, arm: str, metric: str, seeds: Iterable[int] | None = None) -> Floats:
        """Return a metric of each row, averaged over seeds, ``[r]``."""
        chosen = self.seeds(arm) if seeds is None else seeds
        stacked = np.stack([row_metrics(self.ranks[arm, seed])[metric] for seed in chosen])
        mean: Floats = stacked.mean(0)
        return mean

    def intervals(self, metric: str = "ndcg@10") -> dict[str, Estimate]:
        """Return each arm's mean with its interval over users."""
        columns = {arm: self.values(arm, metric) for arm in self.arms}
        return mean_intervals(columns, self.users, resamples=self.resamples)

    def differences(self, reference: str, metric: str = "ndcg@10") -> dict[str, Estimate]:
        """Return each arm's mean minus the reference's, over the seeds that both have.

        All arms are resampled with the same users, so that hard users cancel.
        """
        found: dict[str, Estimate] = {}
        for arm in self.arms:
            if arm == reference:
                continue
            common = sorted(set(self.seeds(arm)) & set(self.seeds(reference)))
            columns = {name: self.values(name, metric, common) for name in (arm, reference)}
            found |= paired_differences(columns, self.users, reference, resamples=self.resamples)
        return found

    def summary(self, reference: str) -> pl.DataFrame:
        """Return a row an arm: means and sd over seeds, interval, difference from a reference."""
        per_seed = self.per_seed().group_by("arm", maintain_order=True)
        means = per_seed.agg(
            pl.len().alias("seeds"),
            *(pl.col(name).mean() for name in (*METRICS, "ndcg@10 by user")),
            pl.col("ndcg@10").std().alias("sd"),
        )
        intervals, differences = self.intervals(), self.differences(reference)
        nothing = Estimate(*[float("nan")] * 4)  # the reference does not differ from itself
        rows = []
        for arm in self.arms:
            own, other = intervals[arm], differences.get(arm, nothing)
            rows.append((arm, own.low, own.high, other.mean, other.low, other.high))
        columns = ("arm", "low", "high", "difference", "difference low", "difference high")
        bounds = pl.DataFrame(rows, schema=columns, orient="row")
        return means.join(bounds, on="arm", maintain_order="left")
