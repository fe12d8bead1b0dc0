"""The histories of all users in flat arrays, the base of splits, batches and rankings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import DataError

Ints = NDArray[np.int64]

# The order of one user's events with equal times. Half of the MovieLens events have such ties, and
# their order in the file can be learned, so the rule changes results and is stated with them.
#   file:   the order of the file (or of a stable sort of it by time)
#   random: by a seeded random key
#   item:   by item number; it leaks the order of the catalog, and exists to measure that leak
TieRule = Literal["file", "random", "item"]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Events ordered by user and time; no prefix of a history is ever stored.

    Users are numbered from 0 and items from 1 (0 is padding), both by original id: shorter ids
    first and equally long ones as text, which for whole numbers is their numeric order. So the
    numbers depend on the set of ids alone, not on the order of the file. An event takes 12 bytes,
    16 with values.

    Attributes:
        items: The item of each event, int32 ``[e]``, 1 to ``item_count``.
        times: The time of each event in seconds, ``[e]``.
        values: The value of each event, float32 ``[e]``, NaN if missing; None if all are missing.
        offsets: User ``u`` has the events ``offsets[u]`` to ``offsets[u + 1] - 1``, ``[u + 1]``.
        user_ids: The original id of user ``u`` at index ``u``.
        item_ids: The original id of item ``i`` at index ``i - 1``.
    """

    items: NDArray[np.int32]
    times: Ints
    values: NDArray[np.float32] | None
    offsets: Ints
    user_ids: pl.Series
    item_ids: pl.Series

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, tie_rule: TieRule = "file", seed: int = 0) -> Self:
        """Sort and number the events of a log.

        Args:
            frame: Columns ``user``, ``item``, ``time`` (whole seconds) and optionally ``value``,
                one row for each event, in the order of the file.
            tie_rule: The order of one user's events with equal times.
            seed: The seed of the rule ``random``.

        Raises:
            DataError: If a column or an entry is missing, or there are no events.
        """
        _check(frame)
        user_ids, item_ids = _ids(frame["user"]), _ids(frame["item"])
        numbered = frame.select(
            pl.col("user").cast(pl.String).cast(pl.Enum(user_ids)).to_physical(),
            pl.col("item").cast(pl.String).cast(pl.Enum(item_ids)).to_physical().cast(pl.Int32) + 1,
            pl.col("time").cast(pl.Int64),
            *(["value"] if "value" in frame.columns else []),
        )
        keys = ["user", "time"]
        if tie_rule == "item":
            keys.append("item")
        elif tie_rule == "random":
            key = pl.Series("key", np.random.default_rng(seed).random(len(frame)))
            numbered = numbered.with_columns(key)
            keys.append("key")
        numbered = numbered.sort(keys, maintain_order=True)
        events = np.bincount(numbered["user"].to_numpy(), minlength=len(user_ids))
        values = None
        if "value" in numbered.columns and numbered["value"].null_count() < len(numbered):
            values = _flat(numbered["value"].cast(pl.Float32).fill_null(float("nan")))
        return cls(
            items=_flat(numbered["item"]),
            times=_flat(numbered["time"]),
            values=values,
            offsets=np.concatenate([[0], np.cumsum(events)]).astype(np.int64),
            user_ids=user_ids,
            item_ids=item_ids,
        )

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.items)

    @property
    def user_count(self) -> int:
        """Number of users."""
        return len(self.offsets) - 1

    @property
    def item_count(self) -> int:
        """Number of items, V."""
        return len(self.item_ids)

    @property
    def lengths(self) -> Ints:
        """Number of events of each user, ``[u]``."""
        return np.diff(self.offsets)

    def users(self) -> NDArray[np.int32]:
        """Return the user of each event, ``[e]``."""
        return np.repeat(np.arange(self.user_count, dtype=np.int32), self.lengths)


def _check(frame: pl.DataFrame) -> None:
    for column in ("user", "item", "time"):
        if column not in frame.columns:
            raise DataError(f"The log has no column {column!r}.", "Load it with okml.data.logs.")
        if missing := frame[column].null_count():
            raise DataError(f"Column {column!r} of the log has {missing:,} empty entries.")
    if not len(frame):
        raise DataError("The log has no events.", "Loosen the filters that it went through.")


def _ids(column: pl.Series) -> pl.Series:
    """Return the distinct ids, shorter ones first."""
    ids = pl.DataFrame({"id": column.cast(pl.String).unique()})
    return ids.sort(pl.col("id").str.len_bytes(), "id")["id"]


def _flat(column: pl.Series) -> NDArray[Any]:
    """Return a contiguous, writable array (torch warns about sharing a read-only one)."""
    return np.array(column.to_numpy())
