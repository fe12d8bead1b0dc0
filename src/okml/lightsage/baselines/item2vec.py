"""item2vec (Barkan & Koenigstein, 2016): word2vec on sessions as unordered sentences."""

from __future__ import annotations

import numpy as np
import polars as pl
from gensim.models import Word2Vec
from numpy.typing import NDArray

from okml.errors import DataError
from okml.settings import Count, LearningRate, NonNegative, Power, Settings, Width


class Item2VecSettings(Settings):
    """Skip-gram with negative sampling; values of the paper where it has them."""

    width: Width = 64
    epochs: Count = 20
    learning_rate: LearningRate = 0.025  # initial rate, which decays linearly
    negatives: Count = 15
    window: Count = 50  # at least a session's length: every pair is a positive
    power: Power = 0.75  # of the frequency in the distribution of negatives
    subsample: NonNegative = 1e-4  # threshold of frequent items; 0: no subsampling


def item2vec(
    pairs: pl.DataFrame, items: int, settings: Item2VecSettings, seed: int
) -> NDArray[np.float32]:
    """Return unit vectors of items, ``[N, d]``; zeros for items in no session of two or more.

    Args:
        pairs: Distinct pairs of ``user`` (or session) and ``item``.
        items: Number of items N.
        settings: Hyperparameters of the training.
        seed: Random seed of the training, which runs in one thread to be deterministic.

    Raises:
        DataError: If no session has two items.
    """
    sets = pairs.group_by("user", maintain_order=True).agg(pl.col("item"))
    sentences = [[str(item) for item in row] for row in sets["item"].to_list() if len(row) > 1]
    if not sentences:
        raise DataError("No session has two items, so item2vec has nothing to learn from.")
    rng = np.random.default_rng(seed)
    for sentence in sentences:
        rng.shuffle(sentence)
    model = Word2Vec(
        sentences,
        vector_size=settings.width,
        window=settings.window,
        sg=1,
        negative=settings.negatives,
        ns_exponent=settings.power,
        sample=settings.subsample,
        min_count=1,
        epochs=settings.epochs,
        alpha=settings.learning_rate,
        workers=1,
        seed=seed + 1,  # gensim takes 0 for "no seed"
    )
    vectors = np.zeros((items, settings.width), np.float32)
    vectors[[int(word) for word in model.wv.index_to_key]] = model.wv.get_normed_vectors()
    return vectors
