from __future__ import annotations

import numpy as np
import pytest
import torch

from okml.errors import DataError, ParameterError
from okml.space_time.ablation import ablate, matched_neurons
from okml.space_time.models import LanguageModel
from okml.space_time.neurons import neuron_activations
from tests.space_time.tiny_models import NEURONS, Prompts, sequence


def mean_loss(lm: LanguageModel, ids: torch.Tensor) -> float:
    with torch.inference_mode():
        return float(lm.model(ids, labels=ids, use_cache=False).loss)


def test_loss_increase_equals_removing_the_out_weights(lm: LanguageModel, prompts: Prompts) -> None:
    """Independent way: zero the neuron's out weights, and let transformers compute the loss."""
    result = ablate(lm, *prompts, layer=1, neuron=5, controls=[9, 20], token_budget=10)
    assert result.contexts.height == 40 * 3
    before = {row: mean_loss(lm, sequence(prompts, row)) for row in (0, 21)}
    for neuron in (5, 9, 20):
        out = lm.mlp(1).neuron_weights()["down"][neuron]
        kept = out.clone()
        out.zero_()
        for row, loss in before.items():
            found = result.contexts.filter(context=row, neuron=neuron)
            expected = mean_loss(lm, sequence(prompts, row)) - loss
            assert found["loss"].item() == pytest.approx(loss, abs=1e-5)
            assert found["increase"].item() == pytest.approx(expected, abs=1e-5)
            assert found["kind"].item() == ("target" if neuron == 5 else "control")
        out.copy_(kept)


def test_a_neuron_that_writes_nothing_is_not_needed(lm: LanguageModel, prompts: Prompts) -> None:
    lm.mlp(2).neuron_weights()["down"][3].zero_()
    result = ablate(lm, *prompts, layer=2, neuron=3, controls=[4])
    dead, alive = (result.contexts.filter(neuron=n)["increase"].abs() for n in (3, 4))
    assert dead.max() < 1e-5
    assert alive.max() > 1e-3
    assert result.tokens["increase"].abs().max() < 1e-4


def test_tokens_add_up_to_contexts(llama: LanguageModel, prompts: Prompts) -> None:
    ids, offsets = prompts
    result = ablate(llama, ids, offsets, layer=0, neuron=1, controls=[])
    for context in (0, 13, 39):
        tokens = result.tokens.filter(context=context)
        assert tokens["token_id"].to_list() == list(
            ids[offsets[context] + 1 : offsets[context + 1]]
        )
        assert tokens["position"].to_list() == list(range(1, tokens.height + 1))
        whole = result.contexts.filter(context=context)
        assert tokens["increase"].mean() == pytest.approx(whole["increase"].item(), abs=1e-6)
        assert tokens["loss"].mean() == pytest.approx(whole["loss"].item(), abs=1e-6)
    worst = result.worst_tokens(4)
    assert worst["increase"].to_list() == sorted(result.tokens["increase"], reverse=True)[:4]


def test_matched_controls_fire_as_strongly(llama: LanguageModel, prompts: Prompts) -> None:
    values = dict(neuron_activations(llama, *prompts, [1]))[1]
    strength = np.sqrt((values.numpy() ** 2).mean(axis=0))
    drawn = matched_neurons(values, neuron=7, count=5)
    others = [n for n in range(NEURONS) if n not in {7, *drawn}]
    gap = np.abs(strength - strength[7])
    assert 7 not in drawn
    assert gap[drawn].max() <= gap[others].min()


def test_too_many_controls_are_an_error() -> None:
    with pytest.raises(ParameterError, match="only 47 other neurons"):
        matched_neurons(torch.ones(3, NEURONS), neuron=7, count=NEURONS)


def test_a_context_of_one_token_is_an_error(llama: LanguageModel) -> None:
    with pytest.raises(DataError, match="two tokens"):
        ablate(llama, np.array([0, 1, 2]), np.array([0, 1, 3]), 0, 0, [1])
