"""Published transformers as settings of the backbone.

Each function takes changes by name, e.g. ``sasrec(width=64)``. The learning rate, the batch and
the loss are not part of a backbone; the docstrings name those of the source.
"""

from __future__ import annotations

from typing import Any

from okml.seqrec.settings import BackboneSettings


def sasrec(**changes: Any) -> BackboneSettings:
    """Return the defaults of the original code of Kang and McAuley (2018).

    It was trained with BCE and one negative, Adam at 1e-3, batches of 128. One difference to that
    code: its blocks add to the normalized queries and read keys that are not normalized.
    """
    return _with(
        changes,
        length=50,
        width=50,
        heads=1,
        layers=2,
        hidden=50,
        dropout=0.5,
        attention_dropout=0.5,
        hidden_dropout=0.5,
        activation="relu",
        norm_epsilon=1e-8,
        scale_embedding=True,
    )


def gsasrec(**changes: Any) -> BackboneSettings:
    """Return the settings of gSASRec's authors' code for ML-1M, Petrov and Macdonald (2023).

    It was trained with gBCE, 256 negatives, t = 0.75. The differences to that code are that of
    :func:`sasrec`, and tied input and output item vectors, which that code keeps apart.
    """
    return _with(
        changes,
        length=200,
        width=128,
        heads=1,
        layers=2,
        hidden=128,
        dropout=0.5,
        attention_dropout=0.5,
        hidden_dropout=0.5,
        activation="relu",
        norm_epsilon=1e-5,
    )


def esasrec(**changes: Any) -> BackboneSettings:
    """Return eSASRec with LiGR blocks as benchmarked on ML-20M (repository transformer_benchmark).

    It was trained with a sampled softmax of 256 negatives.
    """
    return _with(
        changes,
        length=200,
        width=256,
        heads=8,
        layers=4,
        hidden=1024,
        dropout=0.2,
        attention_dropout=0.2,
        activation="swiglu",
        residual="gated",
    )


def hstu(**changes: Any) -> BackboneSettings:
    """Return HSTU-large for ML-1M of the authors' code, Zhai et al. (2024).

    It was trained with a sampled softmax of 128 negatives over L2-normalized vectors at temperature
    0.05; the backbone ends in a LayerNorm instead. HSTU-large for ML-20M has a width of 256, 8
    heads and 16 layers.
    """
    return _with(
        changes,
        length=200,
        width=50,
        heads=2,
        layers=8,
        hidden=None,
        mixer="hstu",
        dropout=0.2,
        scale_embedding=True,
    )


def mamba4rec(**changes: Any) -> BackboneSettings:
    """Return Mamba4Rec for ML-1M of the authors' code, Liu et al. (2024).

    It was trained with a full softmax, Adam at 1e-3, batches of 2048. The differences to that code
    are vectors of positions, and a residual connection around the single Mamba layer.
    """
    return _with(
        changes,
        length=200,
        width=64,
        heads=1,
        layers=1,
        hidden=256,
        mixer="mamba",
        dropout=0.2,
        hidden_dropout=0.2,
        norm="post",
        norm_epsilon=1e-12,
        embedding_norm=True,
    )


def bert4rec(**changes: Any) -> BackboneSettings:
    """Return the defaults of RecBole 1.2.1, for :class:`BERT4Rec`, Sun et al. (2019)."""
    return _with(
        changes,
        length=50,
        width=64,
        heads=2,
        layers=2,
        hidden=256,
        causal=False,
        dropout=0.2,
        attention_dropout=0.2,
        norm="post",
        norm_epsilon=1e-12,
        embedding_norm=True,
        padding_side="left",
    )


def _with(changes: dict[str, Any], **values: Any) -> BackboneSettings:
    return BackboneSettings(**(values | changes))
