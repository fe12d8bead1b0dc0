from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.space_time.extract import read_layers
from okml.space_time.models import LanguageModel
from okml.space_time.planning import FEWEST_OWN_TOKENS, SHARED_TOKENS
from okml.space_time.shared_prefix import SharedPrefix, prefix_length, without_prefix
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


def test_sharing_the_prefix_does_not_change_the_numbers(lm: LanguageModel) -> None:
    rng = np.random.default_rng(4)
    sequences = [
        [0, 9, 8, 7, 6, *rng.integers(1, 64, length)] for length in rng.integers(1, 6, size=30)
    ]
    tokens: list[int] = []
    handle = lm.blocks[0].register_forward_hook(
        lambda _, args, __: tokens.append(args[0][..., 0].numel())
    )
    shared, plain = (
        torch.stack(
            [s for _, s in read_layers(lm, *flat(sequences), token_budget=20, share_prefix=share)]
        )
        for share in (True, False)
    )
    handle.remove()
    lengths = sum(map(len, sequences))
    assert sum(tokens) == (5 + lengths - 30 * 5) + lengths  # the prefix once, then every time
    torch.testing.assert_close(shared, plain, atol=1e-5, rtol=1e-5)


def test_a_batch_keeps_the_prefix_for_each_of_its_names(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, names = np.random.default_rng(5), 10
    own = rng.integers(1, 64, (names, FEWEST_OWN_TOKENS))
    sequences = [[*range(SHARED_TOKENS), *row] for row in own.tolist()]
    caches = []

    def remembered(prefix: SharedPrefix, size: int) -> dict[str, Any]:
        arguments = for_batch(prefix, size)
        caches.append(arguments[prefix.argument])
        return arguments

    for_batch = SharedPrefix.for_batch
    monkeypatch.setattr(SharedPrefix, "for_batch", remembered)
    list(read_layers(lm, *flat(sequences), token_budget=FEWEST_OWN_TOKENS * names))
    (cache,) = caches
    config = lm.model.config
    heads = config.num_attention_heads
    width = config.hidden_size * getattr(config, "num_key_value_heads", heads) // heads
    tokens = SHARED_TOKENS + FEWEST_OWN_TOKENS
    assert sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) == (
        2 * lm.n_layers * names * tokens * width * 4
    )
