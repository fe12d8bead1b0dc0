"""A set of named entities, each with its place or its time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from okml.errors import DataError, ParameterError

Kind = Literal["space", "time"]

POOL_SEED = 0  # draws the entities of a set that is larger than a profile reads
SPACE_TARGETS = ("longitude", "latitude")  # x first, as in the authors' probes


@dataclass(frozen=True)
class EntitySet:
    """Entities with targets, groups and a fixed split; the split is data, never drawn at run time.

    Attributes:
        name: The key in the registry, such as ``world_place``.
        kind: ``space`` or ``time``.
        frame: One row an entity. Columns: ``entity`` (as the model reads it, no outer blanks),
            ``is_test``, those named below, and what else the source tells.
        targets: Target columns: ``("longitude", "latitude")``, or one column of years.
        region: Column for block hold-outs and the region-centroid oracle. May hold nulls.
        entity_type: Column for hold-outs across entity types. May hold nulls.
        split_group: Column whose values never straddle the split. A null is a group of its own.
        source: The source of the entities, for captions and run records.
    """

    name: str
    kind: Kind
    frame: pl.DataFrame
    targets: tuple[str, ...]
    region: str | None
    entity_type: str | None
    split_group: str | None
    source: str

    @property
    def unit(self) -> str:
        """Unit of the targets."""
        return "degrees" if self.kind == "space" else "years"

    def __post_init__(self) -> None:
        named = ("entity", "is_test", *self.targets)
        groups = (self.region, self.entity_type, self.split_group)
        wanted = [*named, *(column for column in groups if column)]
        if missing := [column for column in wanted if column not in self.frame.columns]:
            raise DataError(f"{self.name} lacks the columns {', '.join(missing)}.")
        if self.frame["is_test"].dtype != pl.Boolean or self.frame["is_test"].null_count():
            raise DataError(f"{self.name}: is_test must be true or false in every row.")
        if not np.isfinite(self.y()).all():
            row = int(np.argmin(np.isfinite(self.y()).all(axis=1))) + 1
            raise DataError(
                f"{self.name}, from {self.source}: {', '.join(self.targets)} must be finite in "
                f"every row; row {row} is not."
            )
        self._check_text()
        self._check_split()

    def _check_text(self) -> None:
        text = self.frame["entity"]
        bad = self.frame.filter(text.is_null() | (text == "") | (text != text.str.strip_chars()))
        if bad.height:
            raise DataError(
                f"{self.name}: {bad.height} entities are empty or have outer blanks, such as "
                f"{bad['entity'][0]!r}; the probe would read a blank."
            )

    def _check_split(self) -> None:
        if self.split_group is None:
            return
        sides = (
            self.frame.drop_nulls(self.split_group)
            .group_by(self.split_group)
            .agg(pl.col("is_test").n_unique())
        )
        if straddling := sides.filter(pl.col("is_test") > 1).height:
            raise DataError(
                f"{self.name}: {straddling} values of {self.split_group} are on both sides of "
                "the split."
            )

    def __len__(self) -> int:
        return self.frame.height

    def text(self) -> list[str]:
        """Return the entities as they are shown to the model."""
        return self.frame["entity"].to_list()

    def y(self) -> npt.NDArray[np.float64]:
        """Return the targets, ``[n, t]``; missing values are NaN."""
        columns = [
            self.frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in self.targets
        ]
        return np.stack(columns, axis=1)

    def test_mask(self) -> npt.NDArray[np.bool_]:
        """Return which rows are held out for testing, ``[n]``."""
        return self.frame["is_test"].to_numpy()

    def filter(self, predicate: pl.Expr) -> EntitySet:
        """Return the entities for which ``predicate`` holds, in the same order."""
        return replace(self, frame=self.frame.filter(predicate))

    def at_most(self, n: int | None) -> EntitySet:
        """Return the set, or a fixed sample of ``n`` entities of a larger one; None: all."""
        return self if n is None or n >= len(self) else self.sample(n, POOL_SEED)

    def sample(self, n: int, seed: int) -> EntitySet:
        """Return ``n`` random entities in their order, with the test share of the whole set.

        Both sides keep at least one entity, and every entity stays on its side of the split.

        Raises:
            ParameterError: If ``n`` is below 2 or above the number of entities, or if the whole
                set has only one side.
        """
        if not 0 < n <= len(self):
            raise ParameterError(f"{self.name} has {len(self):,} entities; {n:,} were asked for.")
        test = np.flatnonzero(self.test_mask())
        train = np.flatnonzero(~self.test_mask())
        if n < 2 or not len(test) or not len(train):
            raise ParameterError(f"{self.name}: a sample needs a training and a test entity.")
        share = round(n * len(test) / len(self))
        # Both bounds can bind: one entity a side, and no more than a side has.
        n_test = min(max(share, 1, n - len(train)), n - 1, len(test))
        rng = np.random.default_rng(seed)
        rows = np.concatenate(
            [
                rng.choice(test, n_test, replace=False),
                rng.choice(train, n - n_test, replace=False),
            ]
        )
        return replace(self, frame=self.frame[np.sort(rows)])
