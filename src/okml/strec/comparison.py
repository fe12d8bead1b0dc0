"""Comparison of the chapter's arms on the same rows, with means, intervals and differences."""

from __future__ import annotations

import polars as pl

from okml.ledger import Estimate
from okml.seqrec.comparison import RankedArms
from okml.seqrec.metrics import mean_metrics, row_metrics, user_mean

METRICS = ("hr@10", "mrr@10", "ndcg@10")  # the columns of the paper's Table 2


class Comparison(RankedArms):
    """The arms of the chapter on the test rows of one data set."""

    def per_seed(self) -> pl.DataFrame:
        """Return a row for each arm and seed: means over rows, and NDCG@10 also over users."""
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

    def intervals(self, metric: str = "ndcg@10") -> dict[str, Estimate]:
        """Return each arm's mean with its interval."""
        return {arm: self.estimate(arm, metric) for arm in self.arms}

    def differences(self, reference: str, metric: str = "ndcg@10") -> dict[str, Estimate]:
        """Return each arm's mean less the reference's, over common seeds."""
        others = (arm for arm in self.arms if arm != reference)
        return {arm: self.difference(arm, reference, metric) for arm in others}

    def summary(self, reference: str) -> pl.DataFrame:
        """Return a row for each arm: means, sd over seeds, interval, and paired difference."""
        per_seed = self.per_seed().group_by("arm", maintain_order=True)
        means = per_seed.agg(
            pl.len().alias("seeds"),
            *(pl.col(name).mean() for name in (*METRICS, "ndcg@10 by user")),
            pl.col("ndcg@10").std().alias("sd"),
        )
        intervals, differences = self.intervals(), self.differences(reference)
        rows = []
        for arm in self.arms:
            own, other = intervals[arm], differences.get(arm)  # None for the reference itself
            gain = (other.mean, other.low, other.high) if other else (None, None, None)
            rows.append((arm, own.low, own.high, *gain))
        columns = ("low", "high", "difference", "difference low", "difference high")
        schema = {"arm": pl.String, **dict.fromkeys(columns, pl.Float64)}
        bounds = pl.DataFrame(rows, schema=schema, orient="row")
        return means.join(bounds, on="arm", maintain_order="left")
