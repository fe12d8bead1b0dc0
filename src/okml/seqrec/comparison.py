"""Comparison of arms by ranks on the same rows, paired by user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.ledger import Estimate, estimate_difference, estimate_mean, estimate_ratio
from okml.ledger.estimates import ALL_SEEDS
from okml.seqrec.metrics import Floats, row_metrics
from okml.seqrec.ranking import Ranks


@dataclass
class RankedArms:
    """The ranks of each arm and seed on the same rows.

    Attributes:
        users: The user of each row, ``[r]``.
        ranks: The ranks of the rows, ``[r]``, by arm and seed.
    """

    users: NDArray[np.integer]
    ranks: dict[tuple[str, int], Ranks] = field(default_factory=dict)

    def add(self, arm: str, seed: int, ranks: Ranks) -> None:
        """Add the ranks of one arm and seed.

        Raises:
            ParameterError: If the number of ranks is not that of rows.
        """
        if len(ranks) != len(self.users):
            raise ParameterError(f"{len(ranks)} ranks for {len(self.users)} rows.")
        self.ranks[arm, seed] = ranks

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order in which they were added."""
        return list(dict.fromkeys(arm for arm, _ in self.ranks))

    def seeds(self, arm: str) -> list[int]:
        """Return the seeds of an arm."""
        return [seed for name, seed in self.ranks if name == arm]

    def common_seeds(self, arm: str, reference: str) -> list[int]:
        """Return the seeds that two arms have in common."""
        return sorted(set(self.seeds(arm)) & set(self.seeds(reference)))

    def rows(self, arm: str, metric: str, seed: int) -> Floats:
        """Return a metric such as ``ndcg@10`` of each row, ``[r]``."""
        k = int(metric.rsplit("@", 1)[1])
        return row_metrics(self.ranks[arm, seed], (k,))[metric]

    def metric(self, arm: str, metric: str, seed: int) -> float:
        """Return the mean of a metric over rows."""
        return float(self.rows(arm, metric, seed).mean())

    def values(self, arm: str, metric: str, seeds: Iterable[int] | None = None) -> Floats:
        """Return a metric of each row, averaged over seeds, ``[r]``; None for all seeds."""
        chosen = self.seeds(arm) if seeds is None else seeds
        mean: Floats = np.stack([self.rows(arm, metric, seed) for seed in chosen]).mean(0)
        return mean

    def estimate(self, arm: str, metric: str) -> Estimate:
        """Return an arm's mean over rows and seeds with its interval."""
        rows = {seed: self.rows(arm, metric, seed) for seed in self.seeds(arm)}
        return estimate_mean(rows, "users", clusters=self.users)

    def difference(self, arm: str, reference: str, metric: str) -> Estimate:
        """Return an arm's mean less the reference's, over common seeds, paired by user."""
        return estimate_difference(
            *self._paired(arm, reference, metric), "users", clusters=self.users
        )

    def ratio(self, arm: str, reference: str, metric: str) -> Estimate:
        """Return the ratio of an arm's mean to the reference's, over common seeds, by user."""
        return estimate_ratio(*self._paired(arm, reference, metric), "users", clusters=self.users)

    def less_the_best(self, arm: str, rivals: Sequence[str], metric: str) -> Estimate:
        """Return the smallest paired difference of an arm's mean and that of a rival."""
        gains = [self.difference(arm, rival, metric) for rival in rivals]
        return min(gains, key=lambda gain: gain.mean)

    def _paired(
        self, arm: str, reference: str, metric: str
    ) -> tuple[dict[int, Floats], dict[int, Floats]]:
        common = self.common_seeds(arm, reference)
        own, other = (
            {seed: self.rows(name, metric, seed) for seed in common} for name in (arm, reference)
        )
        return own, other


def cells_won(cells: Sequence[Estimate]) -> Estimate:
    """Return the number of cells of a table in which an arm beats its best rival.

    The interval goes from the number of cells whose interval is above 0 to the number of cells
    whose interval is not below 0.

    Args:
        cells: The difference of the arm and its best rival in each cell.
    """
    return Estimate(
        values={ALL_SEEDS: sum(cell.mean > 0 for cell in cells)},
        low=sum(cell.above(0) for cell in cells),
        high=sum(cell.interval is None or cell.interval[1] > 0 for cell in cells),
        n=cells[0].n,
        over=cells[0].over,
        estimator="cells whose paired interval is above 0, and is not below it",
    )
