from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.space_time.extract import extract
from okml.space_time.models import LanguageModel
from okml.space_time.shared_prefix import prefix_length, without_prefix
from tests.space_time.tiny_models import Prompts


def flat(sequences: list[list[int]]) -> Prompts:
    offsets = np.cumsum([0, *map(len, sequences)]).astype(np.int64)
    return np.concatenate(sequences).astype(np.int64), offsets


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [
        ([[0, 5, 6, 1], [0, 5, 6, 2, 3]], 3),
        ([[0, 5, 6], [0, 5, 6, 2]], 2),  # each keeps a token of its own
        ([[0, 5], [1, 5]], 0),
        ([[0], [0, 5]], 0),
        ([[4, 4, 4]], 2),
    ],
)
def test_prefix_length_by_hand(sequences: list[list[int]], expected: int) -> None:
    assert prefix_length(*flat(sequences)) == expected


@given(
    st.lists(st.integers(0, 3), max_size=5),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=6),
)
def test_prefix_and_rest_make_the_prompts_again(prefix: list[int], rests: list[list[int]]) -> None:
    sequences = [prefix + rest for rest in rests]
    ids, offsets = flat(sequences)
    length = prefix_length(ids, offsets)
    assert len(prefix) <= length < min(map(len, sequences))
    rest_ids, rest_offsets = without_prefix(ids, offsets, length)
    again = [[*ids[:length], *rest_ids[start:end]] for start, end in pairwise(rest_offsets)]
    assert again == sequences


def test_sharing_the_prefix_does_not_change_the_numbers(lm: LanguageModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    sequences = [
        [0, 9, 8, 7, 6, *rng.integers(1, 64, length)] for length in rng.integers(1, 6, size=30)
    ]
    options = {"data_set": "x", "prompt": "y", "storage": "float32", "token_budget": 20}
    shared = extract(lm, *flat(sequences), tmp_path, **options)
    plain = extract(lm, *flat(sequences), tmp_path, **options, share_prefix=False)
    assert (shared.manifest.shared_prefix, plain.manifest.shared_prefix) == (5, 0)
    np.testing.assert_allclose(shared.states, plain.states, atol=1e-5, rtol=1e-5)
