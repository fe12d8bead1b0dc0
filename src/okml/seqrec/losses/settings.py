"""The losses by name, and what each needs to be built."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.losses.base import ItemLoss
from okml.seqrec.losses.binary import Binary, GeneralizedBinary
from okml.seqrec.losses.chunked import ChunkedSoftmax
from okml.seqrec.losses.sampled import InBatchSoftmax, SampledSoftmax
from okml.seqrec.losses.softmax import Softmax
from okml.seqrec.negatives import NegativeSampler
from okml.settings import Bytes, Count, NonNegative, Probability, Settings


class SoftmaxSettings(Settings):
    """Full softmax; the logits of a batch are held at once."""

    kind: Literal["softmax"] = "softmax"


class ChunkedSoftmaxSettings(Settings):
    """Full softmax, a chunk at a time."""

    kind: Literal["chunked_softmax"] = "chunked_softmax"
    chunk_bytes: Bytes = 2**24  # of logits


class InBatchSoftmaxSettings(Settings):
    """Softmax over the targets of the batch, corrected for their popularity."""

    kind: Literal["in_batch_softmax"] = "in_batch_softmax"


class _Sampled(Settings):
    negatives: Count = 256
    alpha: NonNegative = 0.0  # draws go as popularity to this power; 0: uniform
    shared: bool = True  # one set of draws a batch; False: one a target


class SampledSoftmaxSettings(_Sampled):
    """Softmax over the target and sampled items, corrected for the sampling."""

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
    """Make a loss.

    Args:
        settings: Which.
        counts: Training events of each item, ``[V + 1]``; entry 0 is not looked at.
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
    """Make the sampler that the loss needs in its source of batches; None if it needs none.

    ``avoid`` and ``avoid_end`` are those of :class:`NegativeSampler`. A sampled softmax must not
    avoid anything, since its correction is for draws from the whole catalog.
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
