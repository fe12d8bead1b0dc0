from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from okml.lightsage.datasets.features import hashed_words, of_visits, standardized
from okml.lightsage.graph import clean
from tests.lightsage.graph.logs import events, visit


def test_standardized_columns_and_constant_ones() -> None:
    found = standardized(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert found.tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_items_visited_together_get_like_vectors() -> None:
    rows = [
        row
        for user in range(30)
        for row in visit(*((0, 1, 2) if user % 2 else (3, 4, 5)), user=user, session=user)
    ]
    vectors = of_visits(clean(events(*rows)), items=7, size=2, seed=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] == pytest.approx(1, abs=1e-3)
    assert abs(likeness[0, 3]) < 1e-3
    assert not vectors[6].any()  # never visited


def test_words_are_hashed_alike_everywhere() -> None:
    found = hashed_words(pl.Series(["Star Wars", "star", None]), buckets=16)
    assert (np.abs(found[0]).sum(), np.abs(found[1]).sum()) == (2, 1)
    assert (found[0] * found[1]).sum() == 1
    assert not found[2].any()
    # FNV-1a of "a" is af63dc4c8601ec8c: bucket 12 of 16, bit 32 is 0, so the sign is -1.
    assert hashed_words(pl.Series(["a"]), 16)[0, 12] == -1
