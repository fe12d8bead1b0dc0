"""Losses over the part of the catalog that exists, over actions and over genres."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.seqrec.losses import AnyLoss, ItemLoss, SampledSoftmax, build_loss
from okml.seqrec.losses.settings import BinarySettings, GeneralizedBinarySettings
from okml.seqrec.rows import Mask
from okml.video_workshop.data import ActionSet


class ExistingItems(ItemLoss):
    """A full softmax whose classes are the items that exist.

    An item that nobody could have seen is not a negative: with it in the denominator, training
    pushes its vector away from all users before it has one event (pitfall P3 of the spec).

    Args:
        loss: Over all rows of the matrix it is given; it draws no negatives.
        exists: Which items do, ``[V + 1]``; entry 0 is padding.
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
        self, hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor | None
    ) -> Tensor:
        """Return the summed loss; see :class:`ItemLoss`."""
        return self.loss.total(hidden, items[self.kept], self.number[targets], None)


def catalog_loss(settings: AnyLoss, counts: Ints, exists: Mask) -> ItemLoss:
    """Make a softmax loss whose negatives all exist.

    A sampled softmax draws by a power of the training counts, so what has none is never drawn.

    Args:
        settings: Which loss.
        counts: Training events of each item, ``[V + 1]``.
        exists: Which items do, ``[V + 1]``; every target among them.

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


class ActionLoss(nn.Module):
    """Loss of logits of signals: a cross-entropy if signals exclude each other, else binary ones.

    Args:
        kinds: The actions.
    """

    def __init__(self, kinds: ActionSet) -> None:
        super().__init__()
        self.exclusive = kinds.exclusive
        self.members: Tensor  # [actions + 1, signals]
        self.register_buffer("members", torch.from_numpy(kinds.members).float(), persistent=False)

    def forward(self, logits: Tensor, actions: Tensor) -> Tensor:
        """Return the mean loss of the actions that are not 0; of binary losses, their sum.

        Args:
            logits: ``[..., signals]``.
            actions: ``[...]``.
        """
        wanted = self.members[actions]  # [..., signals]
        if self.exclusive:
            losses = -(wanted * logits.float().log_softmax(-1)).sum(-1)
        else:
            losses = functional.binary_cross_entropy_with_logits(
                logits.float(), wanted, reduction="none"
            ).sum(-1)
        return mean_over_real(losses, actions)


def genre_loss(logits: Tensor, genres: Tensor, targets: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the genres of the targets that are not 0.

    Args:
        logits: ``[..., g]``.
        genres: Of each item, 0 or 1, ``[V + 1, g]``.
        targets: ``[...]``.
    """
    losses = functional.binary_cross_entropy_with_logits(
        logits.float(), genres[targets], reduction="none"
    )
    return mean_over_real(losses.mean(-1), targets)


def mean_over_real(losses: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of ``losses`` where there is a target, ``[...]`` both."""
    real = targets != 0
    return (losses * real).sum() / real.sum().clamp_min(1)
