from __future__ import annotations

from importlib import import_module

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from sklearn.metrics.pairwise import cosine_similarity

from okml.lightsage.graph.cosine import cosine
from okml.lightsage.graph.settings import SwingSettings
from tests.lightsage.graph import reference
from tests.lightsage.graph.logs import user_item_pairs

PLAIN = SwingSettings().unbounded().model_copy(update={"least_pairs": 1})


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    has = rng.random((40, 15)) < 0.4
    user, item = np.nonzero(has)
    pairs = pl.DataFrame({"user": user, "item": item.astype(np.int32)})
    expected = cosine_similarity(has.T.astype(float))
    common = has.T.astype(int) @ has
    found = np.zeros((15, 15))
    for i, j, weight in cosine(pairs, PLAIN).rows():
        found[i, j] = weight
    np.fill_diagonal(expected, 0)
    assert found == pytest.approx(np.where(common >= 2, expected, 0), abs=1e-9)


@given(user_item_pairs())
def test_random_logs_give_the_scores_of_the_plain_definition(pairs: pl.DataFrame) -> None:
    chosen = SwingSettings(most_user_items=4, least_pairs=3, most_neighbors=2)
    expected = reference.frame(reference.cosine(reference.of_pairs(pairs), chosen))
    assert cosine(pairs, chosen).equals(expected)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    user, item = np.nonzero(rng.random((30, 20)) < 0.5)
    pairs = pl.DataFrame({"user": user, "item": item.astype(np.int32)})
    whole = cosine(pairs, PLAIN)
    module = import_module("okml.lightsage.graph.cosine")
    monkeypatch.setattr(module, "BLOCK_ITEMS", 3)
    assert cosine(pairs, PLAIN).equals(whole)
