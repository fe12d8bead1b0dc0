from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from okml.errors import DataError, ParameterError
from okml.space_time.batches import plan_batches
from okml.space_time.extract import iter_states, read_layers
from okml.space_time.layerwise import stream_layers
from okml.space_time.models import LanguageModel, load_causal_lm
from tests.device import GPU
from tests.space_time.tiny_models import LAYERS, NEURONS, VOCABULARY, WIDTH, Prompts, sequence


def final_norm(lm: LanguageModel) -> torch.nn.Module:
    names = ("norm", "final_layer_norm", "ln_f")
    return next(getattr(lm.base, name) for name in names if hasattr(lm.base, name))


def run(lm: LanguageModel, prompts: Prompts, **options: Any) -> torch.Tensor:
    """Return the states of all layers, [L + 1, n, d]."""
    layers = dict(read_layers(lm, *prompts, **options))
    assert list(layers) == list(range(-1, lm.n_layers))
    return torch.stack([*layers.values()])


def test_rows_equal_those_of_output_hidden_states(lm: LanguageModel, prompts: Prompts) -> None:
    states = run(lm, prompts)
    assert states.shape == (LAYERS + 1, 40, WIDTH)
    for row in range(40):
        with torch.inference_mode():
            outputs = lm.base(sequence(prompts, row), output_hidden_states=True)
            expected = [state[0, -1] for state in outputs.hidden_states]
            mine = states[:, row]
            for h in range(LAYERS):  # the embedding and all blocks but the last
                torch.testing.assert_close(mine[h], expected[h], atol=1e-5, rtol=1e-5)
            # transformers returns the last one after the final norm; ours is before it.
            assert not torch.allclose(mine[LAYERS], expected[LAYERS], atol=1e-2)
            torch.testing.assert_close(
                final_norm(lm)(mine[LAYERS]), expected[LAYERS], atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize("token_budget", [1, 9, 10_000])
def test_batches_do_not_change_the_numbers(
    lm: LanguageModel, prompts: Prompts, token_budget: int
) -> None:
    reference = run(lm, prompts, token_budget=20)
    other = run(lm, prompts, token_budget=token_budget)
    torch.testing.assert_close(other, reference, atol=1e-5, rtol=1e-5)


def test_right_padding_does_not_change_the_numbers(lm: LanguageModel, prompts: Prompts) -> None:
    found = run(lm, prompts)
    lengths = np.diff(prompts[1])
    padded = torch.zeros(40, int(lengths.max()), dtype=torch.int64)
    for row in range(40):
        padded[row, : lengths[row]] = sequence(prompts, row)[0]
    with torch.inference_mode():
        states = lm.base(padded, output_hidden_states=True).hidden_states
    for h in range(LAYERS):
        expected = states[h][torch.arange(40), torch.from_numpy(lengths) - 1].numpy()
        np.testing.assert_allclose(found[h], expected, atol=1e-5, rtol=1e-5)


def test_plan_covers_every_row_once_with_equal_lengths(prompts: Prompts) -> None:
    lengths = np.diff(prompts[1])
    batches = plan_batches(prompts[1], 12)
    assert sorted(np.concatenate(batches)) == list(range(40))
    for rows in batches:
        assert len(set(lengths[rows])) == 1
        assert len(rows) == 1 or lengths[rows].sum() <= 12
    starts = [lengths[rows[0]] for rows in batches]
    assert starts == sorted(starts, reverse=True)


def test_overflow_is_an_error_that_names_the_block(
    tiny_folder: Callable[[str], Path], prompts: Prompts
) -> None:
    lm = load_causal_lm(tiny_folder("llama"), dtype="float16", device="cpu")
    with torch.no_grad():
        lm.mlp(1).down.weight.fill_(6e4)
    with pytest.raises(ParameterError, match="after block 1 are not finite in float16") as caught:
        run(lm, prompts)
    assert "bfloat16" in caught.value.hint


@pytest.mark.parametrize(
    ("ids", "offsets", "message"),
    [
        ([0, 1, 2], [0, 2], "Offsets"),
        ([0, 1, 2], [0, 3, 3], "Entity 1 has no tokens"),
        ([0, 1, VOCABULARY], [0, 3], "Token ids must lie in 0 to 63"),
        ([0] * 65, [0, 65], "reads at most 64"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(
    llama: LanguageModel, ids: list[int], offsets: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        run(llama, (np.array(ids), np.array(offsets)))


def test_states_come_batch_by_batch(llama: LanguageModel, prompts: Prompts) -> None:
    batches = plan_batches(prompts[1], 8)
    for expected, (rows, states) in zip(
        batches, iter_states(llama, *prompts, batches), strict=True
    ):
        np.testing.assert_array_equal(rows, expected)
        assert states.shape == (LAYERS + 1, len(rows), WIDTH)


@pytest.mark.gpu
def test_states_of_a_gpu_are_those_of_the_cpu(llama: LanguageModel, prompts: Prompts) -> None:
    batches = plan_batches(prompts[1], 8)
    there = replace(llama, model=copy.deepcopy(llama.model).to(GPU))
    assert there.device.type == GPU.type
    pairs = (iter_states(lm, *prompts, batches) for lm in (llama, there))
    for (_, expected), (_, states) in zip(*pairs, strict=True):
        torch.testing.assert_close(states, expected, rtol=1e-3, atol=1e-4)


def test_hooks_are_removed(llama: LanguageModel, prompts: Prompts) -> None:
    run(llama, prompts)
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in llama.model.modules()
    )
    assert llama.mlp(0).width == NEURONS


@pytest.mark.realdata
@pytest.mark.slow
def test_smollm2_equals_transformers_and_its_streamed_self() -> None:
    lm = load_causal_lm("smollm2_135m", device="cpu")
    texts = [f"Where is {name}" for name in ("Paris", "Kyiv", "Saint Petersburg", "Lagos", "Rome")]
    sequences = [[lm.document_start, *lm.tokenizer.encode(text)] for text in texts]
    offsets = np.cumsum([0, *map(len, sequences)]).astype(np.int64)
    tokens = (np.concatenate(sequences), offsets)
    found = run(lm, tokens).numpy()
    plain = run(lm, tokens, share_prefix=False)
    for layer, states in stream_layers(lm, *tokens, device="cpu", token_budget=1024):
        assert torch.equal(states, plain[layer + 1])
    for row, ids in enumerate(sequences):
        with torch.inference_mode():
            outputs = lm.base(torch.tensor([ids]), output_hidden_states=True)
        expected = np.stack([state[0, -1].numpy() for state in outputs.hidden_states])
        scale = np.abs(expected).max(axis=1, keepdims=True)
        assert (np.abs(found[:-1, row] - expected[:-1]) <= 1e-5 * scale[:-1]).all()
