from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from okml.errors import DataError, ParameterError
from okml.space_time.ablation import losses_without, matched_neurons
from okml.space_time.experiments import pinning
from okml.space_time.models import LanguageModel
from okml.space_time.neurons import neuron_activations
from tests.space_time.tiny_models import NEURONS, Prompts, sequence


def losses(lm: LanguageModel, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        out = lm.model(ids, use_cache=False).logits.log_softmax(-1)
    return -out[0, :-1].gather(1, ids[0, 1:, None])[:, 0]


def test_a_loss_equals_that_without_the_out_weights(lm: LanguageModel, prompts: Prompts) -> None:
    """Independent way: zero the neuron's out weights, and take the loss from the logits."""
    neurons = [5, 9, 20]
    found = list(losses_without(lm, *prompts, layer=1, neurons=neurons, token_budget=10))
    assert len(found) == 40
    rows = (0, 21)
    for row in rows:
        torch.testing.assert_close(found[row][0], losses(lm, sequence(prompts, row)))
    for at, neuron in enumerate(neurons, start=1):
        out = lm.mlp(1).neuron_weights()["down"][neuron]
        kept = out.clone()
        out.zero_()
        for row in rows:
            expected = losses(lm, sequence(prompts, row))
            torch.testing.assert_close(found[row][at], expected, atol=1e-5, rtol=1e-5)
        out.copy_(kept)


def test_a_neuron_that_writes_nothing_is_not_needed(lm: LanguageModel, prompts: Prompts) -> None:
    lm.mlp(2).neuron_weights()["down"][3].zero_()
    found = [*losses_without(lm, *prompts, layer=2, neurons=[3, 4])]
    dead, alive = (max(float((of[at] - of[0]).abs().max()) for of in found) for at in (1, 2))
    assert dead < 1e-4
    assert alive > 1e-3


def test_matched_controls_fire_as_strongly(llama: LanguageModel, prompts: Prompts) -> None:
    values = neuron_activations(llama, *prompts, 1)
    strength = np.sqrt((values.numpy() ** 2).mean(axis=0))
    drawn = matched_neurons(values, neuron=7, count=5)
    others = [n for n in range(NEURONS) if n not in {7, *drawn}]
    gap = np.abs(strength - strength[7])
    assert 7 not in drawn
    assert gap[drawn].max() <= gap[others].min()


def test_too_many_controls_are_an_error() -> None:
    with pytest.raises(ParameterError, match="only 47 other neurons"):
        matched_neurons(torch.ones(3, NEURONS), neuron=7, count=NEURONS)


def test_a_text_of_one_token_is_an_error(llama: LanguageModel) -> None:
    with pytest.raises(DataError, match="two tokens"):
        next(losses_without(llama, np.array([0, 1, 2]), np.array([0, 1, 3]), 0, [1]))


def test_the_worst_tokens_are_named_with_what_stands_before_them() -> None:
    """Three texts after a document start 0 each; the token and its context are cut from each."""
    texts = [[0, 11, 12, 13], [0, 21], [0, 31, 32]]
    untouched = [[1.0, 2.0, 3.0], [4.0], [5.0, 6.0]]
    without = [[1.1, 2.9, 3.0], [4.3], [4.8, 6.7]]  # the neuron
    losses = [  # two controls, without which the loss of each token rises by 0.1 and falls by 0.2
        torch.tensor([old, new, [x + 0.1 for x in old], [x - 0.2 for x in old]])
        for old, new in zip(untouched, without, strict=True)
    ]
    lm: Any = SimpleNamespace(tokenizer=SimpleNamespace(decode=lambda ids: " ".join(map(str, ids))))
    ids, offsets = np.concatenate(texts), np.cumsum([0, *map(len, texts)])
    found = pinning._worst_tokens(lm, ids, offsets, losses, "L3.5")
    expected = [
        (" ".join(map(str, text[1:at])), str(text[at]), old[at - 1], new[at - 1] - old[at - 1])
        for text, old, new in zip(texts, untouched, without, strict=True)
        for at in range(1, len(text))
    ]
    expected.sort(key=lambda row: -row[3])
    expected = expected[: pinning.SHOWN_TOKENS]
    assert found["neuron"].unique().to_list() == ["L3.5"]
    assert found.select("context", "next_token").rows() == [row[:2] for row in expected]
    assert found["loss"].to_list() == pytest.approx([row[2] for row in expected])
    assert found["increase"].to_list() == pytest.approx([row[3] for row in expected], abs=1e-6)
    assert found["matched"].to_list() == pytest.approx([0.1] * len(expected), abs=1e-6)
