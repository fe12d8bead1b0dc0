"""Losses over the existing items, over actions and over genres."""

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

    An item that did not exist is not a negative: in the denominator, its vector would be pushed
    away from all users before its first event (pitfall P3 of the spec).

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
        self, hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor | None
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


class ActionLoss(nn.Module):
    """Cross-entropy over signals if they exclude each other, else binary cross-entropies."""

    def __init__(self, kinds: ActionSet) -> None:
        super().__init__()
        self.exclusive = kinds.exclusive
        self.members: Tensor  # [actions + 1, signals]
        self.register_buffer("members", torch.from_numpy(kinds.members).float(), persistent=False)

    def forward(self, logits: Tensor, actions: Tensor) -> Tensor:
        """Return the mean loss over non-zero actions; binary losses are summed over signals.

        Args:
            logits: Logits of the signals, ``[..., signals]``.
            actions: Action numbers, ``[...]``; 0 where there is none.
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
    """Return the mean binary cross-entropy of the genres over non-zero targets.

    Args:
        logits: Logits of the genres, ``[..., g]``.
        genres: Genres of each item, 0 or 1, ``[V + 1, g]``.
        targets: Item numbers of the targets, ``[...]``; 0 where there is none.
    """
    losses = functional.binary_cross_entropy_with_logits(
        logits.float(), genres[targets], reduction="none"
    )
    return mean_over_real(losses.mean(-1), targets)


def mean_over_real(losses: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of ``losses`` ``[...]`` over the non-zero ``targets`` ``[...]``."""
    real = targets != 0
    return (losses * real).sum() / real.sum().clamp_min(1)
