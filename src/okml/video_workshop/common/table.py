"""The interface of item tables, and the table with one row per item."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from okml.seqrec.interactions import Ints


class ItemTable(nn.Module, ABC):
    """The item vectors, which a user model reads as input and scores against as output.

    Items are numbered from 1; 0 is padding, and its vector is zero.

    Args:
        items: Number of items.
        width: Dimension d of a vector.
    """

    def __init__(self, items: int, width: int) -> None:
        super().__init__()
        self.items = items
        self.width = width

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """Return the vectors ``[..., d]`` of the items ``ids`` ``[...]``."""

    def lookup_as_new(self, ids: Tensor, new: Tensor) -> Tensor:
        """Return the vectors ``[..., d]`` as if some items had no training events.

        Args:
            ids: Item numbers, ``[...]``.
            new: Mask of the items that lose the parameters learned for them alone, bool ``[...]``.
        """
        return self.lookup(ids)  # a table without parameters of a single item

    def redraw(self) -> None:
        """Redraw the random choices of training; a training calls it once per batch.

        A user model reads the table for input and for output, and both must see the same draw.
        """

    def observe(self, items: Ints, times: Ints) -> object:
        """Take note of the events of a finished period; most tables do not.

        Args:
            items: Item of each event, ``[e]``.
            times: Time of each event in seconds, ``[e]``.
        """

    def evict(self, now: int) -> object:
        """Take rows from items that had no event for too long; most tables do not."""

    @property
    def rows_in_use(self) -> int:
        """Number of items with a row or a vector of their own."""
        return self.items

    def forward(self) -> Tensor:
        """Return all vectors, ``[items + 1, d]``; row 0, the padding, is zero."""
        device = next(self.parameters()).device
        return self.lookup(torch.arange(self.items + 1, device=device))


class IdTable(ItemTable):
    """One trained row per item; the row of an item without events stays untrained.

    Args:
        items: Number of items.
        width: Dimension d of a vector.
        std: Standard deviation of the normal initialization.
    """

    def __init__(self, items: int, width: int, std: float = 0.02) -> None:
        super().__init__(items, width)
        self.rows = nn.Embedding(items + 1, width, padding_idx=0)
        nn.init.normal_(self.rows.weight, std=std)
        with torch.no_grad():
            self.rows.weight[0].zero_()

    def lookup(self, ids: Tensor) -> Tensor:
        """Return the rows ``[..., d]`` of ``ids`` ``[...]``."""
        return self.rows(ids)  # type: ignore[no-any-return]

    def lookup_as_new(self, ids: Tensor, new: Tensor) -> Tensor:
        """Return the rows, zero where an item is ``new``."""
        return self.lookup(ids) * ~new[..., None]

    def forward(self) -> Tensor:
        """Return the weight ``[items + 1, d]`` itself, without a gather."""
        return self.rows.weight
