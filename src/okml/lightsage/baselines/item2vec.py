"""item2vec (Barkan & Koenigstein, 2016): word2vec on sessions as unordered sentences."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import polars as pl
from gensim.models import Word2Vec
from gensim.models.callbacks import CallbackAny2Vec
from numpy.typing import NDArray

from okml.errors import DataError
from okml.seqrec.convergence import MONITOR
from okml.settings import Count, LearningRate, NonNegative, Power, Settings
from okml.training import History

Vectors = NDArray[np.float32]
Evaluation = Callable[[Vectors], Mapping[str, float]]
LAST_RATE = 1e-4  # the end of the linear schedule, gensim's own


class Item2VecSettings(Settings):
    """Skip-gram with negative sampling; values of the paper where it has them."""

    epochs: Count = 20
    learning_rate: LearningRate = 0.025  # initial rate
    # The rate after it: word2vec's linear decay, or constant. Under a decay every curve ends flat,
    # so it tells nothing of whether more epochs would help.
    schedule: Literal["linear", "constant"] = "linear"
    negatives: Count = 15
    window: Count = 50  # a session is no longer, so that every pair is a positive
    power: Power = 0.75  # exponent of an item's frequency in the distribution of negatives
    subsample: NonNegative = 1e-4  # threshold of frequent items; 0: no subsampling


def item2vec(
    pairs: pl.DataFrame,
    items: int,
    settings: Item2VecSettings,
    seed: int,
    evaluate: Evaluation | None = None,
    width: int = 64,
) -> tuple[Vectors, pl.DataFrame | None]:
    """Train item2vec; return unit vectors of items, ``[N, d]``, and the validation by epoch.

    Items in no session of two or more have zeros. With ``evaluate`` the vectors are those of the
    epoch with the best validation, and the frame is one for ``by_epoch``; without it there is none.

    Args:
        pairs: Distinct pairs of ``user`` (or session) and ``item``.
        items: Number of items N.
        settings: Hyperparameters of the training.
        seed: Random seed of the training, which runs in one thread to be deterministic.
        evaluate: Function that returns the validation's NDCG@10 of vectors.
        width: Length d of the vectors.

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
    watch = None if evaluate is None else _Validation(items, evaluate)
    constant = settings.schedule == "constant"
    model = Word2Vec(
        sentences,
        vector_size=width,
        window=settings.window,
        sg=1,
        negative=settings.negatives,
        ns_exponent=settings.power,
        sample=settings.subsample,
        min_count=1,
        epochs=settings.epochs,
        alpha=settings.learning_rate,
        min_alpha=settings.learning_rate if constant else LAST_RATE,
        workers=1,
        seed=seed + 1,  # gensim takes 0 for "no seed"
        callbacks=() if watch is None else (watch,),
    )
    if watch is None:
        return _unit_vectors(model, items), None
    return watch.best, pl.DataFrame(watch.rows)


def by_epoch(validations: pl.DataFrame) -> History:
    """Return the history of a training whose steps are epochs.

    Args:
        validations: Columns ``step``, ``seconds`` and ``ndcg@10``, a row for each epoch.
    """
    values = validations[MONITOR].to_numpy()
    best = int(values.argmax())
    return History(validations, len(values), "max_epochs", best + 1, float(values[best]))


class _Validation(CallbackAny2Vec):  # type: ignore[misc]
    """Validates the vectors after each epoch and keeps the best ones."""

    def __init__(self, items: int, evaluate: Evaluation) -> None:
        self.items = items
        self.evaluate = evaluate
        self.rows: list[dict[str, float]] = []
        self.best: Vectors = np.zeros((items, 0), np.float32)
        self.started = time.perf_counter()

    def on_epoch_end(self, model: Word2Vec) -> None:
        """Add a row to the history."""
        vectors = _unit_vectors(model, self.items)
        found = self.evaluate(vectors)
        if not self.rows or found[MONITOR] > max(row[MONITOR] for row in self.rows):
            self.best = vectors
        seconds = time.perf_counter() - self.started
        self.rows.append({"step": len(self.rows) + 1, "seconds": seconds, **found})


def _unit_vectors(model: Word2Vec, items: int) -> Vectors:
    vectors = np.zeros((items, model.vector_size), np.float32)
    model.wv.fill_norms(force=True)  # gensim keeps the norms of an earlier epoch otherwise
    vectors[[int(word) for word in model.wv.index_to_key]] = model.wv.get_normed_vectors()
    return vectors
