"""Intervals of what probes predict, over the test entities and over the seeds that draw them.

All arms predict the same test entities, so that they are compared in pairs. A seed that draws only
a part of them has NaN for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import Estimate, estimate_statistic
from okml.space_time.entities import EntitySet
from okml.space_time.metrics import (
    Floats,
    Mask,
    group_codes,
    group_or_alone,
    mean_r2,
    mean_spearman,
    within_group_spearman,
)

Arm = Mapping[int, Floats]  # seed: predictions for all entities, [n, t]; NaN: not tested


class Fixed(dict[int, Floats]):
    """An arm that no seed changes: its one entry stands beside every seed of other arms."""


Statistic = Callable[..., float]  # takes row numbers [k] and predictions of each arm [n, t]
FEWEST = 5  # test entities of a region, below which their order says nothing


class HeldOut:
    """Scores and compares arms on the test entities of a set.

    Args:
        entity_set: The set, as the profile reads it.
        clusters: The label of the unit that each entity is sampled with, [n]; by default what the
            split keeps together, such as the works of a creator.
        over: The name of these units.
    """

    def __init__(
        self,
        entity_set: EntitySet,
        clusters: NDArray[Any] | None = None,
        over: str = "groups of entities",
    ) -> None:
        self.y = entity_set.y()
        self.test = np.flatnonzero(entity_set.test_mask())
        if clusters is None and entity_set.split_group is not None:
            clusters = kept_together(entity_set)
        self.clusters = None if clusters is None else clusters[self.test]
        self.over = "entities" if clusters is None else over

    def estimate(self, statistic: Statistic, *arms: Arm) -> Estimate:
        """Return a statistic of arms with its interval; all predict the same rows.

        Where all arms are fixed, the value is one that no seed changes.
        """
        drawn = [arm for arm in arms if not isinstance(arm, Fixed)]

        def of(kept: NDArray[np.int64], seed: int) -> float:
            predicted = [
                next(iter(arm.values())) if isinstance(arm, Fixed) else arm[seed] for arm in arms
            ]
            return statistic(_predicted(self.test[kept], predicted[0]), *predicted)

        return estimate_statistic(
            of, len(self.test), self.over, clusters=self.clusters,
            seeds=[*drawn[0]] if drawn else None,
        )  # fmt: skip

    def mean(self, statistic: Statistic, arm: Arm) -> float:
        """Return a statistic of an arm, as a mean over its seeds."""
        return float(np.mean([*self.by_seed(statistic, arm).values()]))

    def by_seed(self, statistic: Statistic, arm: Arm) -> dict[int, float]:
        """Return a statistic of an arm on the test entities of each seed."""
        return {seed: statistic(_predicted(self.test, p), p) for seed, p in arm.items()}

    def r2(self, rows: NDArray[np.int64], predicted: Floats) -> float:
        """Return the mean R² of the targets over ``rows``, a statistic, of predictions [n, t]."""
        return mean_r2(self.y[rows], predicted[rows])

    def rho(self, rows: NDArray[np.int64], predicted: Floats) -> float:
        """Return the targets' mean Spearman ρ over ``rows``, a statistic, of predictions [n, t]."""
        return mean_spearman(self.y[rows], predicted[rows])

    def among(self, kept: Mask) -> Statistic:
        """Return the statistic that is the mean R² of some of the entities, [n]."""
        return lambda rows, p: self.r2(rows[kept[rows]], p)

    def order_within(self, regions: Sequence[Any]) -> Statistic:
        """Return the statistic that is Spearman's ρ inside regions.

        Args:
            regions: The region of each entity of the set, or None. Regions with fewer than
                ``FEWEST`` test entities are left out.
        """
        codes, labels = group_codes(list(regions))
        sizes = np.bincount(1 + codes[self.test], minlength=1 + len(labels))[1:]
        kept = [
            label if code >= 0 and sizes[code] >= FEWEST else None
            for code, label in zip(codes, regions, strict=True)
        ]
        return lambda rows, p: within_group_spearman(
            self.y[rows], p[rows], [kept[row] for row in rows], min_size=2
        )


def kept_together(entity_set: EntitySet) -> NDArray[np.int64]:
    """Return the number of the group that each entity is split and sampled with, [n]."""
    if entity_set.split_group is None:
        return np.arange(len(entity_set))
    return group_or_alone(entity_set.frame[entity_set.split_group].to_numpy())


def less(statistic: Statistic) -> Statistic:
    """Return the difference between a statistic of one arm and that of a second one."""
    return lambda rows, p, q: statistic(rows, p) - statistic(rows, q)


def whole(n: int, rows: NDArray[np.int64], predicted: Floats) -> Floats:
    """Return predictions [k, t] for some rows as predictions for all, [n, t]; NaN elsewhere."""
    found = np.full((n, predicted.shape[1]), np.nan)
    found[rows] = predicted
    return found


def to_frame(arm: Arm) -> pl.DataFrame:
    """Return an arm as a frame: ``seed``, ``row`` and ``predicted_0``, …, of what is tested."""
    frames = []
    for seed, predicted in arm.items():
        rows = _predicted(np.arange(len(predicted)), predicted)
        targets = {f"predicted_{column}": values for column, values in enumerate(predicted[rows].T)}
        frames.append(pl.DataFrame({"seed": seed, "row": rows, **targets}))
    return pl.concat(frames)


def from_frame(frame: pl.DataFrame, shape: tuple[int, ...]) -> dict[int, Floats]:
    """Return the arm of a frame that :func:`to_frame` made.

    Args:
        frame: The frame of predictions.
        shape: Entities and targets of the set, (n, t).
    """
    columns = [f"predicted_{column}" for column in range(shape[1])]
    found = {}
    for seed in frame["seed"].unique(maintain_order=True):
        part = frame.filter(seed=seed)
        found[int(seed)] = whole(shape[0], part["row"].to_numpy(), part.select(columns).to_numpy())
    return found


def _predicted(rows: NDArray[np.int64], predicted: Floats) -> NDArray[np.int64]:
    known: NDArray[np.bool_] = ~np.isnan(predicted[rows, 0])
    return rows[known]
