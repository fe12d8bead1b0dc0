"""The settings of the losses, and functions that build losses and samplers from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.losses.base import ItemLoss
from okml.seqrec.losses.sampled import (
    Binary,
    GeneralizedBinary,
    InBatchSoftmax,
    SampledSoftmax,
)
from okml.seqrec.losses.softmax import ChunkedSoftmax, Softmax
from okml.seqrec.negatives import NegativeSampler
from okml.settings import Bytes, Count, NonNegative, Probability, Settings


class SoftmaxSettings(Settings):
    """Full softmax; all logits of a batch are in memory at once."""

    kind: Literal["softmax"] = "softmax"


class ChunkedSoftmaxSettings(Settings):
    """Full softmax, computed in chunks of targets."""

    kind: Literal["chunked_softmax"] = "chunked_softmax"
    chunk_bytes: Bytes = 2**24  # memory of a chunk's logits


class InBatchSoftmaxSettings(Settings):
    """Sampled softmax over the targets of the batch, with a logQ correction by popularity."""

    kind: Literal["in_batch_softmax"] = "in_batch_softmax"


class _Sampled(Settings):
    negatives: Count = 256
    alpha: NonNegative = 0.0  # exponent of popularity in the probability of a draw; 0: uniform
    shared: bool = True  # whether all targets of a batch share one set of draws


class SampledSoftmaxSettings(_Sampled):
    """Sampled softmax over the target and sampled items, with the logQ correction."""

    kind: Literal["sampled_softmax"] = "sampled_softmax"


class BinarySettings(_Sampled):
    """BCE; the defaults are those of SASRec."""

    kind: Literal["bce"] = "bce"
    negatives: Count = 1
    shared: bool = False


class GeneralizedBinarySettings(_Sampled):
    """gBCE; the defaults are those of gSASRec's authors' code for ML-1M."""

    kind: Literal["gbce"] = "gbce"
    shared: bool = False
    t: Probability = 0.75


AnyLoss = Annotated[
    SoftmaxSettings
    | ChunkedSoftmaxSettings
    | InBatchSoftmaxSettings
    | SampledSoftmaxSettings
    | BinarySettings
    | GeneralizedBinarySettings,
    Field(discriminator="kind"),
]


def build_loss(settings: AnyLoss, counts: NDArray[Any]) -> ItemLoss:
    """Build a loss from its settings.

    Args:
        settings: The settings of the loss.
        counts: The number of training events of each item, ``[V + 1]``; entry 0 is ignored.
    """
    match settings:
        case SoftmaxSettings():
            return Softmax()
        case ChunkedSoftmaxSettings():
            return ChunkedSoftmax(settings.chunk_bytes)
        case InBatchSoftmaxSettings():
            shares = torch.from_numpy(np.asarray(counts, dtype=np.float64))
            shares[0] = 0
            return InBatchSoftmax((shares / shares.sum()).log().float())
        case SampledSoftmaxSettings():
            sampler = NegativeSampler(counts, settings.negatives, alpha=settings.alpha)
            return SampledSoftmax(sampler.log_q)
        case BinarySettings():
            return Binary()
        case GeneralizedBinarySettings():
            return GeneralizedBinary(len(counts) - 1, settings.negatives, settings.t)


def build_sampler(
    settings: AnyLoss,
    counts: NDArray[Any],
    avoid: Interactions | None = None,
    avoid_end: Ints | None = None,
) -> NegativeSampler | None:
    """Build the negative sampler for the batches of a loss; None if the loss needs none.

    A sampled softmax must not avoid any items, since its correction is for draws from the whole
    catalog.

    Args:
        settings: The settings of the loss.
        counts: The number of events of each item, ``[V + 1]``; row 0 is padding.
        avoid: Events whose items are no negatives of their users; see :class:`NegativeSampler`.
        avoid_end: One past the last of these events of each user, ``[u]``.
    """
    if not isinstance(settings, _Sampled):
        return None
    return NegativeSampler(
        counts,
        settings.negatives,
        alpha=settings.alpha,
        shared=settings.shared,
        avoid=avoid,
        avoid_end=avoid_end,
    )
