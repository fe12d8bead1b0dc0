from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from okml.errors import ParameterError
from okml.space_time.interventions import (
    pin_neuron,
    random_directions,
    steer,
    sweep_neuron,
    sweep_values,
    top_tokens,
)
from okml.space_time.models import LanguageModel
from tests.space_time.tiny_models import LAYERS, NEURONS, VOCABULARY, WIDTH, Prompts, sequence


def logits(lm: LanguageModel, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        out: torch.Tensor = lm.model(ids, use_cache=False).logits
    return out


def no_hooks(lm: LanguageModel) -> bool:
    return not any(m._forward_hooks or m._forward_pre_hooks for m in lm.model.modules())


def test_pinning_equals_adding_to_the_mlp_output_by_hand(
    lm: LanguageModel, prompts: Prompts
) -> None:
    ids, layer, neuron, value = sequence(prompts, 3), 1, 7, 2.5
    written = lm.mlp(layer).neuron_weights()["down"][neuron]

    def by_hand(module: torch.nn.Module, args: tuple[torch.Tensor], out: torch.Tensor) -> object:
        return out + (value - args[0][..., neuron, None]) * written

    handle = lm.mlp(layer).down.register_forward_hook(by_hand)
    expected = logits(lm, ids)
    handle.remove()
    with pin_neuron(lm, layer, neuron, value):
        pinned = logits(lm, ids)
    torch.testing.assert_close(pinned, expected, atol=1e-4, rtol=1e-4)
    assert (pinned - logits(lm, ids)).abs().max() > 1e-3
    assert no_hooks(lm)


def test_every_row_of_a_batch_can_have_its_own_pin(llama: LanguageModel, prompts: Prompts) -> None:
    ids = sequence(prompts, 5)
    neurons, values = torch.tensor([0, 9, 47]), torch.tensor([1.0, -2.0, 0.0])
    with pin_neuron(llama, 2, neurons, values):
        together = logits(llama, ids.expand(3, -1))
    for row in range(3):
        with pin_neuron(llama, 2, int(neurons[row]), float(values[row])):
            torch.testing.assert_close(together[row], logits(llama, ids)[0], atol=1e-5, rtol=1e-5)


def test_a_pin_is_undone_when_the_body_fails(llama: LanguageModel) -> None:
    with pytest.raises(RuntimeError, match="stop"), pin_neuron(llama, 0, 0, 1.0):
        raise RuntimeError("stop")
    assert no_hooks(llama)


@pytest.mark.parametrize("neuron", [-1, NEURONS])
def test_a_neuron_that_is_not_there_is_an_error(llama: LanguageModel, neuron: int) -> None:
    with pytest.raises(ParameterError, match="neurons 0 to 47"), pin_neuron(llama, 0, neuron, 1.0):
        pass


def test_sweep_equals_one_pin_after_the_other(lm: LanguageModel, prompts: Prompts) -> None:
    ids = sequence(prompts, 8)
    neurons, values = [4, 4, 9], [-3.0, 3.0, 2.0]
    swept = sweep_neuron(lm, ids[0].tolist(), 1, neurons, values)
    assert swept.shape == (4, VOCABULARY)
    expected = [logits(lm, ids)]
    for neuron, value in zip(neurons, values, strict=True):
        with pin_neuron(lm, 1, neuron, value):
            expected.append(logits(lm, ids))
    for row, found in zip(expected, swept, strict=True):
        torch.testing.assert_close(found, row[0, -1].softmax(-1), atol=1e-5, rtol=1e-4)
    assert no_hooks(lm)


def test_the_course_of_the_most_probable_tokens(llama: LanguageModel, prompts: Prompts) -> None:
    swept = sweep_neuron(llama, sequence(prompts, 8)[0].tolist(), 1, [4, 4], [-3.0, 3.0])
    course = top_tokens(llama, swept, [-3.0, 3.0], top=5)
    best = swept.mean(0).argsort(descending=True)[:5]
    assert set(course["token_id"]) == set(best.tolist())
    for at, value in enumerate((None, -3.0, 3.0)):
        rows = course.filter(pl.col("value").eq_missing(value))
        for token, name, found in rows.select("token_id", "token", "probability").iter_rows():
            assert found == pytest.approx(swept[at, token].item())
            assert name == f"w{token}"


def test_sweep_values_are_multiples_of_the_quantile() -> None:
    activations = torch.tensor([[0.0, 1.0], [0.0, -3.0], [0.0, 2.0]])
    assert sweep_values(activations, 1, multiples=(-1, 0, 2), quantile=0.5) == [-2.0, 0.0, 4.0]


@pytest.fixture
def positions(prompts: Prompts) -> np.ndarray:
    """The entity ends one token before the prompt does."""
    return np.diff(prompts[1]) - 2


DIRECTION = np.random.default_rng(5).normal(size=WIDTH)


def test_no_push_changes_nothing(
    lm: LanguageModel, prompts: Prompts, positions: np.ndarray
) -> None:
    steered = steer(lm, *prompts, positions, 1, {"u": DIRECTION}, [0.0, 0.3], 3, 4)
    still, moved = (steered.filter(strength=s)["effect"].abs() for s in (0.0, 0.3))
    assert still.max() < 1e-5
    assert moved.min() > 1e-4
    assert no_hooks(lm)


def test_steering_equals_a_forward_pass_by_hand(
    lm: LanguageModel, prompts: Prompts, positions: np.ndarray
) -> None:
    layer, token, against = 0, 11, 12
    directions = {"u": DIRECTION, "v": -2 * DIRECTION[::-1].copy()}
    steered = steer(
        lm, *prompts, positions, layer, directions, [-0.5, 0.25], token, against, token_budget=10
    )
    assert steered.height == 40 * 2 * 2
    with torch.inference_mode():
        norms = [
            lm.base(sequence(prompts, row), output_hidden_states=True)
            .hidden_states[layer + 1][0, positions[row]]
            .norm()
            for row in range(40)
        ]
    norm = float(torch.stack(norms).mean())
    for row in (0, 17, 39):
        for name, direction in directions.items():
            unit = torch.from_numpy(direction / np.linalg.norm(direction)).float()
            for strength in (-0.5, 0.25):

                def push(_: object, __: object, out: torch.Tensor) -> torch.Tensor:
                    out = out.clone()
                    out[:, positions[row]] += strength * norm * unit  # noqa: B023
                    return out

                handle = lm.block(layer).register_forward_hook(push)
                last = logits(lm, sequence(prompts, row))[0, -1]
                handle.remove()
                found = steered.filter(prompt=row, direction=name, strength=strength)
                expected = float(last[token] - last[against])
                assert found["log_odds"].item() == pytest.approx(expected, abs=2e-4)
                plain = logits(lm, sequence(prompts, row))[0, -1]
                shift = expected - float(plain[token] - plain[against])
                assert found["effect"].item() == pytest.approx(shift, abs=4e-4)


def test_the_length_of_a_direction_does_not_matter(
    llama: LanguageModel, prompts: Prompts, positions: np.ndarray
) -> None:
    one = steer(llama, *prompts, positions, 1, {"u": DIRECTION}, [0.2], 3, 4)
    other = steer(llama, *prompts, positions, 1, {"u": 100 * DIRECTION}, [0.2], 3, 4)
    np.testing.assert_allclose(one["effect"], other["effect"], atol=1e-5)


def test_pushing_the_last_token_after_the_last_block_moves_the_odds_the_unembedding_says(
    llama: LanguageModel, prompts: Prompts
) -> None:
    """With no block left, the logits are the head of the normed, pushed stream: a closed form."""
    last = np.diff(prompts[1]) - 1
    steered = steer(llama, *prompts, last, LAYERS - 1, {"u": DIRECTION}, [0.4], 3, 4)
    states: list[torch.Tensor] = []
    handle = llama.block(LAYERS - 1).register_forward_hook(lambda _, __, o: states.append(o[0, -1]))
    for row in range(40):
        logits(llama, sequence(prompts, row))
    handle.remove()
    stream = torch.stack(states)
    unit = torch.from_numpy(DIRECTION / np.linalg.norm(DIRECTION)).float()
    with torch.inference_mode():
        head = llama.model.lm_head(llama.base.norm(stream + 0.4 * stream.norm(dim=1).mean() * unit))
    np.testing.assert_allclose(steered["log_odds"], head[:, 3] - head[:, 4], atol=1e-4)


def test_random_directions_are_unit_seeded_and_uncorrelated() -> None:
    drawn = random_directions(512, 20, seed=1)
    stacked = np.stack(list(drawn.values()))
    np.testing.assert_allclose(np.linalg.norm(stacked, axis=1), 1.0)
    assert np.abs(stacked @ stacked.T - np.eye(20)).max() < 0.25
    again = random_directions(512, 20, seed=1)
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)
    assert not np.allclose(drawn["random 0"], random_directions(512, 1, seed=2)["random 0"])


@pytest.mark.parametrize("bad", [np.zeros(WIDTH), np.ones(WIDTH + 1)])
def test_a_bad_direction_is_an_error(
    llama: LanguageModel, prompts: Prompts, positions: np.ndarray, bad: np.ndarray
) -> None:
    with pytest.raises(ParameterError, match="non-zero vector of 32"):
        steer(llama, *prompts, positions, 1, {"u": bad}, [0.1], 3, 4)


@pytest.mark.parametrize("position", [-1, 7])
def test_a_position_outside_its_prompt_is_an_error(
    llama: LanguageModel, prompts: Prompts, positions: np.ndarray, position: int
) -> None:
    positions[4] = position
    with pytest.raises(ParameterError, match="position"):
        steer(llama, *prompts, positions, 1, {"u": DIRECTION}, [0.1], 3, 4)
