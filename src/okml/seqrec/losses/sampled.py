"""Losses over a sample of the catalog: softmax and binary cross-entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from okml.seqrec.losses.base import ItemEmbeddings, ItemLoss, scores, wide


class SampledSoftmax(ItemLoss):
    """Sampled softmax over the target and sampled items, with the logQ correction.

    With ``k`` draws of probability ``q``, the sum of ``exp(s_j) / (k q_j)`` over the draws other
    than the target is an unbiased estimate of the sum of ``exp(s_j)`` over all other items. So
    log ``k q`` is subtracted from the logits of negatives, draws of the target are masked, and
    the logit of the target, which is always included, is not corrected. (Bengio and Senecal 2008;
    for the target: Khrylchenko et al. 2025, "Correcting the LogQ Correction".)

    Args:
        log_q: The log probability of each item in one draw, ``[V + 1]``; see ``NegativeSampler``.
    """

    needs_negatives = True
    scores_all = False

    def __init__(self, log_q: Tensor) -> None:
        super().__init__()
        self.log_q: Tensor
        self.register_buffer("log_q", log_q, persistent=False)

    def total(
        self, hidden: Tensor, items: ItemEmbeddings, targets: Tensor, negatives: Tensor | None
    ) -> Tensor:
        """Return the summed loss; see :class:`ItemLoss`."""
        assert negatives is not None
        return self.against(hidden, items, targets, negatives, negatives.shape[-1])

    def against(
        self, hidden: Tensor, items: ItemEmbeddings, targets: Tensor, candidates: Tensor, draws: int
    ) -> Tensor:
        """Return the summed loss of each target against candidates, corrected for their draws.

        Args:
            hidden: Vectors of histories, ``[r, d]``.
            items: Vectors of items; see :class:`ItemLoss`.
            targets: The next items, ``[r]``, none of them 0.
            candidates: Negatives, ``[k]`` for all rows or ``[r, k]``; one that equals the row's
                target is left out.
            draws: The number of draws k of the correction ``log(k q)``.
        """
        positive = wide((hidden * items[targets]).sum(1, keepdim=True))  # [r, 1]
        logits = wide(scores(hidden, items, candidates))  # [r, k]
        logits = logits - self.log_q[candidates] - math.log(max(draws, 1))
        logits = logits.masked_fill(candidates == targets[:, None], -math.inf)
        return (torch.cat([positive, logits], 1).logsumexp(1) - positive[:, 0]).sum()


class InBatchSoftmax(SampledSoftmax):
    """Sampled softmax whose negatives are the other targets of the batch, drawn by popularity.

    The memory is quadratic in the number of targets.

    Args:
        log_q: The log share of each item among targets, ``[V + 1]``.
    """

    needs_negatives = False

    def total(
        self, hidden: Tensor, items: ItemEmbeddings, targets: Tensor, negatives: Tensor | None
    ) -> Tensor:
        """Return the summed loss; see :class:`ItemLoss`."""
        return self.against(hidden, items, targets, targets, len(targets) - 1)


class Binary(ItemLoss):
    """BCE with ``k`` negatives: SASRec's loss, as a mean over the ``1 + k`` terms of a target.

    The term of a negative that equals the target is 0.
    """

    needs_negatives = True
    scores_all = False
    power = 1.0  # exponent of the target's probability

    def total(
        self, hidden: Tensor, items: ItemEmbeddings, targets: Tensor, negatives: Tensor | None
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
