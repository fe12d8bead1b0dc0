"""Published recommenders as references, with the sizes and losses of their authors or RecBole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from okml.seqrec.backbone import Backbone
from okml.seqrec.encoder import Encoder
from okml.seqrec.losses import (
    AnyLoss,
    GeneralizedBinarySettings,
    SampledSoftmaxSettings,
)
from okml.seqrec.models import (
    NARM,
    BERT4Rec,
    GRU4Rec,
    GRU4RecSettings,
    NARMSettings,
    bert4rec,
    esasrec,
    gsasrec,
    hstu,
    mamba4rec,
)

ReferenceName = Literal["gru4rec", "narm", "bert4rec", "gsasrec", "esasrec", "hstu", "mamba4rec"]


@dataclass(frozen=True)
class Reference:
    """A recommender of another paper.

    Attributes:
        build: A function from the number of items and the length to the encoder.
        loss: The published loss; None for the recipe's, a full softmax.
    """

    build: Callable[[int, int], Encoder]
    loss: AnyLoss | None = None


REFERENCES: dict[str, Reference] = {
    "gru4rec": Reference(lambda items, length: GRU4Rec(items, GRU4RecSettings())),
    "narm": Reference(lambda items, length: NARM(items, NARMSettings())),
    "bert4rec": Reference(lambda items, length: BERT4Rec(items, bert4rec(length=length))),
    "gsasrec": Reference(
        lambda items, length: Backbone(items, gsasrec(length=length)), GeneralizedBinarySettings()
    ),
    "esasrec": Reference(
        lambda items, length: Backbone(items, esasrec(length=length)), SampledSoftmaxSettings()
    ),
    "hstu": Reference(
        lambda items, length: Backbone(items, hstu(length=length)),
        SampledSoftmaxSettings(negatives=128),
    ),
    "mamba4rec": Reference(lambda items, length: Backbone(items, mamba4rec(length=length))),
}
