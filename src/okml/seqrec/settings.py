"""The settings of a transformer encoder."""

from __future__ import annotations

from typing import Literal

from okml.seqrec.mixers import AnyMixer, AttentionSettings, PaddingSide
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
    """One stack of blocks. The defaults are a causal SASRec with modern blocks."""

    length: Count = 50  # items of a history
    width: Width = 64  # d
    heads: Depth = 1
    layers: Depth = 2
    hidden: Width | None = 256  # of the feed-forward network; None: the block has none
    causal: bool = True
    mixer: AnyMixer = AttentionSettings()

    dropout: BelowOne = 0.2  # of embeddings and of what a block adds
    # Of attention weights. Not free on a CPU, where the kernel with dropout is the slow one.
    attention_dropout: BelowOne = 0.0
    hidden_dropout: BelowOne = 0.0  # inside the feed-forward network
    activation: Literal["gelu", "relu", "swiglu"] = "gelu"
    # pre: x + f(norm(x)), and a norm at the end; post: norm(x + f(x)), as in BERT and STRec;
    # decomposition: as post, but a moving average is taken off, with a norm at the end (Autoformer)
    norm: Literal["pre", "post", "decomposition"] = "pre"
    norm_epsilon: Fraction = 1e-6
    trend: Count = 25  # positions of the moving average, odd; 3 suits 8 positions
    # gated: what a sub-layer adds is scaled by a sigmoid of its input (LiGR blocks of eSASRec)
    residual: Literal["plain", "gated"] = "plain"
    embedding_norm: bool = False
    scale_embedding: bool = False  # by the root of the width
    positions: bool = True  # learned absolute positions, counted from the end
    distilling: bool = False  # halve the tokens between blocks (Informer)
    initial_std: Positive = 0.02  # of all weights; biases start at zero
    padding_side: PaddingSide = "right"  # right: a causal mask needs no padding mask

    _heads = heads_divide()
    _pooled = rule(
        lambda backbone: not (backbone.distilling and backbone.causal),
        "distilling pools over neighbors, so it cannot be causal",
    )
    _averaged = rule(
        lambda backbone: not (backbone.norm == "decomposition" and backbone.causal),
        "decomposition averages over neighbors, so it cannot be causal",
    )
    _odd = rule(lambda backbone: backbone.trend % 2 == 1, "trend must be odd, not {trend}")
