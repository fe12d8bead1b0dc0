"""The settings of a transformer encoder."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from okml.seqrec.mixers import AnyMixer, AttentionSettings, PaddingSide


class BackboneSettings(BaseModel):
    """One stack of blocks. The defaults are a causal SASRec with modern blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: PositiveInt = 50  # items of a history
    width: PositiveInt = 64  # d
    heads: PositiveInt = 1
    layers: PositiveInt = 2
    hidden: PositiveInt | None = 256  # of the feed-forward network; None: the block has none
    causal: bool = True
    mixer: AnyMixer = AttentionSettings()

    dropout: float = Field(default=0.2, ge=0, lt=1)  # of embeddings and of what a block adds
    # Of attention weights. Not free on a CPU, where the kernel with dropout is the slow one.
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    hidden_dropout: float = Field(default=0.0, ge=0, lt=1)  # inside the feed-forward network
    activation: Literal["gelu", "relu", "swiglu"] = "gelu"
    # pre: x + f(norm(x)), and a norm at the end; post: norm(x + f(x)), as in BERT and STRec;
    # decomposition: as post, but a moving average is taken off, with a norm at the end (Autoformer)
    norm: Literal["pre", "post", "decomposition"] = "pre"
    norm_epsilon: float = 1e-6
    trend: PositiveInt = 25  # positions of the moving average, odd; 3 suits 8 positions
    # gated: what a sub-layer adds is scaled by a sigmoid of its input (LiGR blocks of eSASRec)
    residual: Literal["plain", "gated"] = "plain"
    embedding_norm: bool = False
    scale_embedding: bool = False  # by the root of the width
    positions: bool = True  # learned absolute positions, counted from the end
    distilling: bool = False  # halve the tokens between blocks (Informer)
    initial_std: float = Field(default=0.02, gt=0)  # of all weights; biases start at zero
    padding_side: PaddingSide = "right"  # right: a causal mask needs no padding mask

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        if self.distilling and self.causal:
            raise ValueError("distilling pools over neighbors, so it cannot be causal")
        if self.norm == "decomposition" and self.causal:
            raise ValueError("decomposition averages over neighbors, so it cannot be causal")
        if self.trend % 2 == 0:
            raise ValueError(f"trend must be odd, not {self.trend}")
        return self
