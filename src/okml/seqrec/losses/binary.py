"""Binary cross-entropy of the target and a few sampled items."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from okml.seqrec.losses.base import ItemLoss, scores, wide


class Binary(ItemLoss):
    """BCE with ``k`` negatives: SASRec's loss, as a mean over the ``1 + k`` terms of a target.

    The term of a negative that equals the target is 0.
    """

    needs_negatives = True
    power = 1.0  # exponent of the target's probability

    def total(
        self, hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor | None
    ) -> Tensor:
        """Return the summed loss; see :class:`ItemLoss`."""
        assert negatives is not None
        positive = wide((hidden * items[targets]).sum(1))  # [r]
        negative = functional.softplus(wide(scores(hidden, items, negatives)))  # [r, k]
        negative = negative.masked_fill(negatives == targets[:, None], 0.0)
        # -log(σ(s)^power) = power softplus(-s), which avoids underflow of σ(s)^power
        terms = self.power * functional.softplus(-positive).sum() + negative.sum()
        return terms / (negatives.shape[-1] + 1)


class GeneralizedBinary(Binary):
    """gBCE: BCE with the probability of the target raised to a power of at most 1.

    Few negatives make a model overconfident; the power corrects that. With the sampling rate
    ``α = k / (V - 1)`` it is ``α (t (1 - 1/α) + 1/α)``: ``t = 0`` is BCE, and ``t = 1`` calibrates
    fully (Petrov and Macdonald 2023, gSASRec).

    Args:
        items: Number of items, V.
        negatives: Number of negatives of each target, k.
        t: The calibration parameter, 0 to 1.
    """

    def __init__(self, items: int, negatives: int, t: float) -> None:
        super().__init__()
        rate = negatives / (items - 1)
        self.power = rate * (t * (1 - 1 / rate) + 1 / rate)
