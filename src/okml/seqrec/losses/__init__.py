"""Losses over items: full, chunked and sampled softmax, BCE and gBCE.

``build_loss(settings, counts)`` builds a loss from its settings; ``build_sampler`` builds the
negative sampler that its batches need.
"""

from okml.seqrec.losses.base import ItemEmbeddings, ItemLoss
from okml.seqrec.losses.sampled import (
    Binary,
    GeneralizedBinary,
    InBatchSoftmax,
    SampledSoftmax,
)
from okml.seqrec.losses.settings import (
    AnyLoss,
    BinarySettings,
    ChunkedSoftmaxSettings,
    GeneralizedBinarySettings,
    InBatchSoftmaxSettings,
    SampledSoftmaxSettings,
    SoftmaxSettings,
    build_loss,
    build_sampler,
)
from okml.seqrec.losses.softmax import ChunkedSoftmax, Softmax

__all__ = [
    "AnyLoss",
    "Binary",
    "BinarySettings",
    "ChunkedSoftmax",
    "ChunkedSoftmaxSettings",
    "GeneralizedBinary",
    "GeneralizedBinarySettings",
    "InBatchSoftmax",
    "InBatchSoftmaxSettings",
    "ItemEmbeddings",
    "ItemLoss",
    "SampledSoftmax",
    "SampledSoftmaxSettings",
    "Softmax",
    "SoftmaxSettings",
    "build_loss",
    "build_sampler",
]
