"""A collisionless table whose rows are assigned to and taken from items.

Monolith (Liu et al., 2022) has one for each feature: an item gets a row after enough events and
loses it after a time without events. Here items are numbered, so an array of row numbers replaces
the cuckoo hash map.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.video_workshop.items.table import ItemTable
from okml.video_workshop.stream.new_rows import STD, RowInitializer

PADDING, SHARED = 0, 1  # rows that belong to no item


class ExpiringTable(ItemTable):
    """A table from which items are evicted and to which they are admitted.

    An item without a row of its own uses the shared row. There are no collisions: a row is free
    only if no item points to it.

    Args:
        items: Number of items.
        width: Dimension d of a row.
        capacity: Largest number of items with a row; no item is admitted while none is free.
        min_count: Number of events after which an item is admitted.
        ttl: Time to live in seconds without an event, after which an item is evicted and its count
            reset.
        initializer: Initializer of the rows of admitted items.

    Raises:
        ParameterError: If capacity, count or time is not positive.
    """

    def __init__(
        self,
        items: int,
        width: int,
        *,
        capacity: int,
        min_count: int = 2,
        ttl: int,
        initializer: RowInitializer | None = None,
    ) -> None:
        super().__init__(items, width)
        if min(capacity, min_count, ttl) < 1:
            raise ParameterError("Capacity, least count and time to live must be at least 1.")
        self.min_count = min_count
        self.ttl = ttl
        self.initializer = initializer or RowInitializer("random")
        self.rows = nn.Embedding(capacity + 2, width, padding_idx=PADDING)
        nn.init.normal_(self.rows.weight, std=STD)
        with torch.no_grad():
            self.rows.weight[PADDING].zero_()
        self.row_of: Tensor
        self.counts: Tensor
        self.last_seen: Tensor
        row_of = torch.full((items + 1,), SHARED)
        row_of[0] = PADDING
        self.register_buffer("row_of", row_of)
        self.register_buffer("counts", torch.zeros(items + 1, dtype=torch.int64))
        self.register_buffer("last_seen", torch.zeros(items + 1, dtype=torch.int64))

    @property
    def alive(self) -> Tensor:
        """Items with a row of their own, ascending."""
        return (self.row_of > SHARED).nonzero()[:, 0]

    def free_rows(self) -> Tensor:
        """Return the rows that no item has, ascending."""
        used = torch.zeros(len(self.rows.weight), dtype=torch.bool, device=self.row_of.device)
        used[[PADDING, SHARED]] = True
        used[self.row_of] = True
        return (~used).nonzero()[:, 0]

    def lookup(self, ids: Tensor) -> Tensor:
        """Return the rows ``[..., d]`` of the items ``ids`` ``[...]``."""
        return self.rows(self.row_of[ids])  # type: ignore[no-any-return]

    @torch.no_grad()
    def observe(self, items: Ints, times: Ints) -> Ints:
        """Count events, and admit items that have enough.

        Args:
            items: Item of each event, ``[e]``.
            times: Time of each event in seconds, ``[e]``.

        Returns:
            The admitted items, ascending; the lowest numbers first if rows are few.
        """
        device = self.row_of.device
        ids, at = torch.from_numpy(items.astype(np.int64)).to(device), torch.from_numpy(times)
        self.counts += torch.bincount(ids, minlength=self.items + 1)
        self.last_seen.scatter_reduce_(0, ids, at.to(device), "amax")
        known = self.alive
        waiting = (self.row_of == SHARED) & (self.counts >= self.min_count)
        rows = self.free_rows()
        new = waiting.nonzero()[: len(rows), 0]
        vectors = self.initializer(self.lookup(known), known, new)
        self.row_of[new] = rows[: len(new)]
        self.rows.weight[self.row_of[new]] = vectors
        return new.cpu().numpy()

    @torch.no_grad()
    def evict(self, now: int) -> Ints:
        """Evict the items without an event for longer than the time to live.

        Args:
            now: Current time in seconds.

        Returns:
            The evicted items, ascending.
        """
        alive = self.alive
        gone = alive[now - self.last_seen[alive] > self.ttl]
        self.rows.weight[self.row_of[gone]] = 0
        self.row_of[gone] = SHARED
        self.counts[gone] = 0
        return gone.cpu().numpy()
