"""A loss over the items that exist.

A softmax over the whole catalog pushes down the vectors of items that nobody could have chosen,
because they had not appeared: at their launch they start from behind.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.seqrec.losses import ItemLoss


class ExistingItems(ItemLoss):
    """Another loss, whose classes are some of the items.

    Args:
        loss: One that needs no sampled negatives.
        existing: The items, ascending, ``[k]``.
        items: Number of items of the catalog, V.

    Raises:
        ParameterError: If the loss samples negatives, or there are no items.
    """

    def __init__(self, loss: ItemLoss, existing: Ints, items: int) -> None:
        super().__init__()
        if loss.needs_negatives or not len(existing):
            raise ParameterError(
                "A loss over existing items takes all of them, and at least one.",
                "Choose a full softmax.",
            )
        self.loss = loss
        kept = torch.from_numpy(np.concatenate([[0], existing]))
        number = torch.zeros(items + 1, dtype=torch.int64)
        number[kept] = torch.arange(len(kept))
        self.kept: Tensor
        self.number: Tensor
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("number", number, persistent=False)

    def total(
        self, hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor | None
    ) -> Tensor:
        """Return the summed loss; see :class:`ItemLoss`.

        Raises:
            ParameterError: If a target does not exist.
        """
        numbers = self.number[targets]
        if hidden.device.type == "cpu" and not numbers.all():
            raise ParameterError("A target of the batch is not among the existing items.")
        return self.loss.total(hidden, items[self.kept], numbers, negatives)
