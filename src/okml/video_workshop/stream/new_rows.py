"""Rows of new items: their first values, and a table that gives and takes rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.video_workshop.common.table import ItemTable
from okml.video_workshop.settings.stream import NewRows

NEIGHBORS = 10
TEMPERATURE = 0.1  # of the softmax over cosines of content
NOISE = 0.1  # standard deviation of the noise, relative to that of the known rows
STD = 0.02  # standard deviation of random rows, as in a new table


class RowInitializer:
    """Initializes the rows of new items; spec 4.9.

    ``random`` draws them as a new table does. ``mean_noise`` takes the mean of the known rows,
    ``content_knn`` the mean of the rows of the 10 items with the nearest content, weighted by a
    softmax of the cosine; both add noise with a tenth of the rows' standard deviation.

    Args:
        kind: Kind of the initialization.
        content: Content vector of each item, ``[items + 1, c]``, needed by ``content_knn`` only.
    """

    def __init__(self, kind: NewRows, content: Tensor | None = None) -> None:
        if kind == "content_knn" and content is None:
            raise ParameterError("Neighbors by content need the content of all items.")
        self.kind = kind
        self.content = None if content is None else functional.normalize(content.float(), dim=1)
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, known: Tensor, known_items: Tensor, new_items: Tensor) -> Tensor:
        """Return the initial rows of new items, ``[m, d]``.

        Args:
            known: Trained rows, ``[k, d]``.
            known_items: Items of the trained rows, ``[k]``.
            new_items: Items to initialize, ``[m]``.
        """
        noise = torch.randn(len(new_items), known.shape[1], generator=self.generator)
        noise = noise.to(known)
        if self.kind == "random" or len(known) < 2:
            return STD * noise
        noise = NOISE * known.std(0) * noise
        if self.kind == "mean_noise":
            return known.mean(0) + noise
        assert self.content is not None
        content = self.content.to(known.device)
        cosine = content[new_items] @ content[known_items].T  # [m, k]
        nearest = cosine.topk(min(NEIGHBORS, len(known)), dim=1)
        weights = (nearest.values / TEMPERATURE).softmax(1)  # [m, n]
        return (weights[:, :, None] * known[nearest.indices]).sum(1) + noise


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

    @property
    def rows_in_use(self) -> int:
        """Number of items with a row of their own."""
        return len(self.alive)

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
