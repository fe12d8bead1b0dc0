"""Baselines of a probe: the letters of a name, its tokens, static word vectors, country labels.

The digest asks whether a language model is a memorizer of n-grams. So the same ridge regression
runs on n-grams themselves, without any language model. All functions predict the test rows, to be
scored by the same metrics as the probe.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupShuffleSplit

from okml.errors import ParameterError
from okml.space_time.batches import Rows
from okml.space_time.metrics import Floats, Mask, group_codes
from okml.space_time.ridge import Features, fit_ridge

NGRAMS = (1, 5)
# Relative to the mean squared length of a row, which is 1 for TF-IDF.
SPARSE_EXPONENTS = (-3.0, 2.0)
SPARSE_LAMBDAS = 11
PATIENCE = 2  # larger errors in succession that end the search for λ
VALIDATION_SHARE = 0.1  # of the groups

Texts = Sequence[str]
WordVectors = Mapping[str, NDArray[np.floating[Any]]]  # the vector of each lower-case word, [d]


def ngram_features(texts: Texts, train: Rows) -> sparse.csr_matrix:
    """Return TF-IDF of character n-grams, 1 to 5 letters inside word bounds, [n, d].

    Vocabulary and document frequencies come from the training rows alone.
    """
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS)
    return _vectorize(vectorizer, texts, train)


def word_features(texts: Texts, train: Rows) -> sparse.csr_matrix:
    """Return which words of the training vocabulary a name has, [n, d], 0 or 1."""
    return _vectorize(CountVectorizer(binary=True), texts, train)


def without_shared_words(texts: Texts, train: Mask) -> Mask:
    """Tell which names have no word of a training name, [n].

    Args:
        texts: The names, [n].
        train: Which of them are training names, [n].
    """
    words = word_features(texts, np.flatnonzero(train))
    return np.asarray(words.sum(axis=1) == 0).ravel()


def token_features(tokens: Sequence[Sequence[int]], train: Rows) -> sparse.csr_matrix:
    """Return how often a name has each token of the language model, [n, d]: a bag, no order.

    Args:
        tokens: Token ids of each name, without prompt and document start.
        train: Rows whose tokens make the vocabulary.
    """
    return _vectorize(CountVectorizer(analyzer=list), tokens, train)


def _vectorize(
    vectorizer: CountVectorizer, documents: Sequence[Any], train: Rows
) -> sparse.csr_matrix:
    try:
        vectorizer.fit([documents[row] for row in train])
    except ValueError as error:
        raise ParameterError(f"The training names have no features: {error}.") from error
    return sparse.csr_matrix(vectorizer.transform(documents), dtype=np.float64)


def word_vector_features(texts: Texts, vectors: WordVectors) -> Floats:
    """Return the mean vector of the words of each name, [n, d]; zero where no word has one.

    Args:
        texts: The names to look up.
        vectors: The vector of each lower-case word, [d].

    Raises:
        ParameterError: If there are no vectors.
    """
    if not vectors:
        raise ParameterError("There are no word vectors.")
    width = len(next(iter(vectors.values())))
    split = CountVectorizer(token_pattern=r"(?u)\b\w+\b").build_analyzer()
    features = np.zeros((len(texts), width))
    for row, text in enumerate(texts):
        found = [vectors[word] for word in split(text) if word in vectors]
        if found:
            features[row] = np.mean(found, axis=0)
    return features


def fit_sparse_ridge(X: sparse.csr_matrix, y: Floats, lam: float) -> Ridge:
    """Fit ridge with an intercept to sparse features [n, d] by conjugate gradients."""
    return Ridge(alpha=lam, solver="sparse_cg", tol=1e-5).fit(X, y)


@dataclass(frozen=True)
class SparsePenalty:
    """A penalty that validation rows have chosen.

    Attributes:
        lam: The chosen λ.
        exponent: The k of λ = scale · 10^k, where the scale is the mean squared length of a row.
        interior: Whether a smaller and a larger λ were tried. At an end a better one may lie
            beyond it.
    """

    lam: float
    exponent: float
    interior: bool


def choose_sparse_lambda(
    X: sparse.csr_matrix, y: Floats, groups: NDArray[np.int64], seed: int = 0
) -> SparsePenalty:
    """Choose the λ with the smallest error on a tenth of the groups, fitted on the others.

    Leave-one-out would need the decomposition of a matrix with as many columns as n-grams. The
    largest λ are tried first: conjugate gradients are slow where λ is small, and the search ends
    when the error has risen ``PATIENCE`` times in succession.

    Args:
        X: Features, [n, d].
        y: Targets, [n, t].
        groups: What each row is split with, [n]: works of one creator share words, so that rows
            drawn one by one would choose a λ that remembers creators, of which no test row has any.
        seed: The seed that draws validation groups.
    """
    split = GroupShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=seed)
    ((rest, validation),) = split.split(X, groups=groups)
    spread = np.maximum(y[rest].std(axis=0), np.finfo(np.float64).tiny)
    scale = float(X.multiply(X).sum() / len(y)) or 1.0

    def error(lam: float) -> float:
        predicted = fit_sparse_ridge(X[rest], y[rest], lam).predict(X[validation])
        residual = (y[validation] - np.reshape(predicted, y[validation].shape)) / spread
        return float(np.square(residual).mean())

    tried: dict[float, float] = {}
    for exponent in np.linspace(*SPARSE_EXPONENTS, SPARSE_LAMBDAS)[::-1]:
        tried[float(exponent)] = error(scale * 10**exponent)
        last = [*tried.values()][-1 - PATIENCE :]
        if len(last) > PATIENCE and last == sorted(last):
            break
    best = min(tried, key=tried.__getitem__)
    return SparsePenalty(scale * 10**best, best, min(tried) < best < max(tried))


def ridge_predictions(
    X: Features | sparse.csr_matrix,
    y: Floats,
    train: Rows,
    test: Rows,
    *,
    penalty: SparsePenalty | None = None,
    device: torch.device | str | None = None,
) -> Floats:
    """Fit ridge on the training rows and predict the test rows, [n_test, t].

    Dense features choose λ by leave-one-out like the probe; sparse ones have a ``penalty``.
    """
    if penalty is not None:
        rows = sparse.csr_matrix(X)
        predicted = fit_sparse_ridge(rows[train], y[train], penalty.lam).predict(rows[test])
        return np.asarray(predicted, dtype=np.float64).reshape(len(test), -1)
    fit = fit_ridge(X[train], y[train], device=device)
    return np.asarray(fit.predict(X[test]).cpu().numpy(), dtype=np.float64)


def region_centroids(
    regions: NDArray[Any] | list[Any], y: Floats, train: Rows, test: Rows
) -> Floats:
    """Predict each test row by the mean of its region's training rows, [n_test, t].

    An oracle that knows the country and nothing else. A region without training rows, or none,
    gets the mean of all training rows.
    """
    codes, labels = group_codes(regions)
    centers = np.tile(y[train].mean(axis=0), (len(labels) + 1, 1))  # the last one: no region
    for code in np.unique(codes[train]):
        if code >= 0:
            centers[code] = y[train][codes[train] == code].mean(axis=0)
    return centers[codes[test]]


def token_targets(last_tokens: Sequence[Hashable], y: Floats, seed: int) -> Floats:
    """Give each last token a random place or time of its own: a control task, [n, t].

    The task follows Hewitt & Liang (2019). The new target depends on the name's last token alone,
    and is drawn from the true targets, so that it is spread like them. How well a probe learns it
    tells how much it can memorize by token identity; where training names share their last token
    with test names that is not nothing.
    """
    kinds = {token: kind for kind, token in enumerate(dict.fromkeys(last_tokens))}
    drawn = y[np.random.default_rng(seed).integers(len(y), size=len(kinds))]
    return np.asarray(drawn[[kinds[token] for token in last_tokens]])
