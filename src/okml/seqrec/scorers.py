"""The interface between models and rankings: scores of some rows and items at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from okml.seqrec.batches import LastTargetBatch
from okml.seqrec.encoder import Encoder


class ChunkScores(Protocol):
    """Scores of one batch, computed for some rows and items at a time."""

    def __call__(self, rows: Tensor, first: int, last: int) -> Tensor:
        """Return the scores of items first to last - 1, a new float32 ``[rows, last - first]``."""
        ...


Scorer = Callable[[LastTargetBatch], ChunkScores]


def product_scorer(
    encode: Callable[[LastTargetBatch], Tensor], item_matrix: Tensor, bias: Tensor | None = None
) -> Scorer:
    """Return a scorer by inner products, in float32 also under autocast to avoid ties by rounding.

    Args:
        encode: A function from a batch to vectors ``[b, d]``.
        item_matrix: The vectors of items, ``[V + 1, d]``; row 0 is padding.
        bias: The bias of each item, ``[V + 1]``; None for none.
    """
    matrix = item_matrix.detach().float()

    def scorer(batch: LastTargetBatch) -> ChunkScores:
        vectors = encode(batch).float()  # [b, d]

        def scores(rows: Tensor, first: int, last: int) -> Tensor:
            with torch.autocast(matrix.device.type, enabled=False):
                product = vectors[rows] @ matrix[first:last].T
            return product if bias is None else product + bias[first:last].float()

        return scores

    return scorer


def encoder_scorer(encoder: Encoder) -> Scorer:
    """Return a scorer by the vector after the history and the encoder's current item matrix."""
    return product_scorer(
        lambda batch: encoder.last(batch.items, batch.times, batch.padded), encoder.item_matrix()
    )


def among(scorer: Scorer, candidates: Tensor) -> Scorer:
    """Return a scorer that restricts the ranking to some items; the others have the score -inf.

    Args:
        scorer: A scorer of all items.
        candidates: Bool ``[V + 1]``, true for the ranked items, the targets of all rows included.
    """

    def restricted(batch: LastTargetBatch) -> ChunkScores:
        everything = scorer(batch)

        def scores(rows: Tensor, first: int, last: int) -> Tensor:
            out = ~candidates[first:last].to(rows.device)
            return everything(rows, first, last).masked_fill_(out, -torch.inf)

        return scores

    return restricted


def score_function_scorer(score: Callable[[LastTargetBatch], Tensor]) -> Scorer:
    """Return a scorer from a function that returns all scores of a batch, ``[b, V + 1]``."""

    def scorer(batch: LastTargetBatch) -> ChunkScores:
        everything = score(batch)

        def scores(rows: Tensor, first: int, last: int) -> Tensor:
            return everything[rows, first:last].float()

        return scores

    return scorer
