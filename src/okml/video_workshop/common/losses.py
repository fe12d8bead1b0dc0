"""Softmax losses over the items that exist."""

from __future__ import annotations

import torch
from torch import Tensor

from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.seqrec.losses import AnyLoss, ItemEmbeddings, ItemLoss, SampledSoftmax, build_loss
from okml.seqrec.losses.settings import BinarySettings, GeneralizedBinarySettings
from okml.seqrec.rows import Mask


class ExistingItems(ItemLoss):
    """A full softmax whose classes are the items that exist.

    An item that did not exist is not a negative: in the denominator, its vector would be pushed
    away from all users before its first event.

    Args:
        loss: Loss over all rows of the given matrix, without sampled negatives.
        exists: Mask of the existing items, ``[V + 1]``; entry 0 is padding.
    """

    def __init__(self, loss: ItemLoss, exists: Mask) -> None:
        super().__init__()
        mask = torch.from_numpy(exists.copy())
        mask[0] = True  # padding stays row 0
        self.loss = loss
        self.kept: Tensor
        self.number: Tensor
        self.register_buffer("kept", mask.nonzero()[:, 0], persistent=False)  # [E + 1]
        self.register_buffer("number", (mask.cumsum(0) - 1) * mask, persistent=False)  # [V + 1]

    def total(
        self, hidden: Tensor, items: ItemEmbeddings, targets: Tensor, negatives: Tensor | None
    ) -> Tensor:
        """Return the summed loss; see :class:`ItemLoss`."""
        return self.loss.total(hidden, items[self.kept], self.number[targets], None)


def catalog_loss(settings: AnyLoss, counts: Ints, exists: Mask) -> ItemLoss:
    """Make a softmax loss whose negatives all exist.

    A sampled softmax draws by a power of the training counts, so items without events are never
    drawn.

    Args:
        settings: Settings of a softmax loss.
        counts: Training events of each item, ``[V + 1]``.
        exists: Mask of the existing items, ``[V + 1]``, which includes every target.

    Raises:
        ParameterError: If the loss is not a softmax, draws uniformly, or an item with training
            events does not exist.
    """
    if isinstance(settings, BinarySettings | GeneralizedBinarySettings):
        raise ParameterError(f"The loss {settings.kind!r} is not a softmax.", "Choose a softmax.")
    if (counts[1:] > 0)[~exists[1:]].any():
        raise ParameterError("An item with training events is said not to exist.")
    if settings.kind == "sampled_softmax" and not settings.alpha > 0:
        raise ParameterError(
            "Uniform draws hit items that do not exist yet.", "Set the loss's alpha above 0."
        )
    loss = build_loss(settings, counts)
    return loss if isinstance(loss, SampledSoftmax) else ExistingItems(loss, exists)
