"""What every way to turn an item number into a vector offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class ItemTable(nn.Module, ABC):
    """The vectors of all items, which a user model reads as input and scores against as output.

    Items are numbered from 1; 0 is padding, and its vector is zero.

    Args:
        items: Number of items.
        width: Of a vector, d.
    """

    def __init__(self, items: int, width: int) -> None:
        super().__init__()
        self.items = items
        self.width = width

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """Return the vectors ``[..., d]`` of the items ``ids`` ``[...]``."""

    def lookup_as_new(self, ids: Tensor, new: Tensor) -> Tensor:
        """Return the vectors ``[..., d]`` as if some items had never been seen.

        Args:
            ids: ``[...]``.
            new: Which of them lose what was learned for them alone, bool ``[...]``.
        """
        return self.lookup(ids)  # of a table that learns nothing for one item alone

    def redraw(self) -> None:
        """Draw anew what is random in training; a training calls it once a batch.

        Input and output of a user model read the table apart, and must see the same.
        """

    def forward(self) -> Tensor:
        """Return all vectors, ``[items + 1, d]``; row 0, the padding, is zero."""
        device = next(self.parameters()).device
        return self.lookup(torch.arange(self.items + 1, device=device))


class IdTable(ItemTable):
    """A row of its own for each item: exact for items with events, untrained for new ones.

    Args:
        items: Number of items.
        width: Of a vector, d.
        std: Of the first values, which are normal.
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
        """Return the table itself, ``[items + 1, d]``, without gathering it."""
        return self.rows.weight
