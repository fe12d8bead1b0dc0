"""The popularity baseline: items by their number of events, equal for all users."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.seqrec.batches import LastTargetBatch
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.scorers import ChunkScores, Scorer


def item_counts(interactions: Interactions, end: Ints | None = None) -> NDArray[np.int64]:
    """Return the number of events of each item, ``[V + 1]``, 0 for the padding.

    Args:
        interactions: The events of all users.
        end: One past the last counted event of each user, ``[u]``, such as a split's
            ``train_end``, which excludes the test. By default all events count.
    """
    items = interactions.items
    if end is not None:
        items = items[np.arange(len(interactions)) < end[interactions.users()]]
    return np.bincount(items, minlength=interactions.item_count + 1)


def popularity_scorer(counts: NDArray[np.int64]) -> Scorer:
    """Return a scorer of items by their counts ``[V + 1]``, equal for all users.

    Float32 is exact for counts up to 16.7 million.
    """
    table = torch.from_numpy(counts).float()

    def scorer(batch: LastTargetBatch) -> ChunkScores:
        popularity = table.to(batch.items.device)

        def scores(rows: Tensor, first: int, last: int) -> Tensor:
            return popularity[first:last].repeat(len(rows), 1)

        return scores

    return scorer
