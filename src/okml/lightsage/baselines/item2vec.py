"""item2vec (Barkan & Koenigstein, 2016): word2vec where a session is a sentence without order."""

from __future__ import annotations

import numpy as np
import polars as pl
from gensim.models import Word2Vec

from okml.errors import DataError
from okml.lightsage.ranking import Scores
from okml.settings import Count, LearningRate, NonNegative, Power, Settings, Width


class Item2VecSettings(Settings):
    """Skip-gram with negative sampling; the paper's values where it has any."""

    width: Width = 64
    epochs: Count = 20
    learning_rate: LearningRate = 0.025  # of the first epoch; it falls linearly
    negatives: Count = 15
    window: Count = 50  # no less than a session: every pair is a positive
    power: Power = 0.75  # of the frequency that negatives are drawn by
    subsample: NonNegative = 1e-4  # of frequent items; 0: keep all


def item2vec(pairs: pl.DataFrame, items: int, settings: Item2VecSettings, seed: int) -> Scores:
    """Return unit vectors of items, ``[N, d]``; zeros for items that no session of two has.

    Args:
        pairs: ``user`` (or session) and ``item``, distinct.
        items: N.
        settings: Of the training.
        seed: Of the training; one thread, so that it decides everything.

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
