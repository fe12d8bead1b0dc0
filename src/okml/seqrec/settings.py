"""The settings of a transformer encoder."""

from __future__ import annotations

from typing import Literal

from okml.seqrec.mixers import MixerName, PaddingSide
from okml.settings import (
    BelowOne,
    Count,
    Depth,
    Fraction,
    Positive,
    Settings,
    Width,
    heads_divide,
    rule,
)


class BackboneSettings(Settings):
    """A stack of blocks. The defaults are a causal SASRec with modern blocks."""

    length: Count = 50  # items of a history
    width: Width = 64  # width of a token, d
    heads: Depth = 1
    layers: Depth = 2
    hidden: Width | None = 256  # width of the feed-forward network; None: no such network
    causal: bool = True
    mixer: MixerName = "attention"

    dropout: BelowOne = 0.2  # drops parts of embeddings and of the residual branches
    attention_dropout: BelowOne = 0.0  # drops attention weights, which is slow on a CPU
    hidden_dropout: BelowOne = 0.0  # inside the feed-forward network
    activation: Literal["gelu", "relu", "swiglu"] = "gelu"
    # pre: x + f(norm(x)), and a norm at the end; post: norm(x + f(x)), as in BERT and STRec
    norm: Literal["pre", "post"] = "pre"
    norm_epsilon: Fraction = 1e-6
    # gated: the residual branch is scaled by a sigmoid of its input (LiGR blocks of eSASRec)
    residual: Literal["plain", "gated"] = "plain"
    embedding_norm: bool = False
    scale_embedding: bool = False  # whether it is multiplied by the root of the width
    distilling: bool = False  # whether to halve the tokens between blocks (Informer)
    initial_std: Positive = 0.02  # standard deviation of all weights; biases start at zero
    padding_side: PaddingSide = "right"  # right: a causal mask needs no padding mask

    _heads = heads_divide()
    _pooled = rule(
        lambda backbone: not (backbone.distilling and backbone.causal),
        "distilling pools over neighbors, so it cannot be causal",
    )
