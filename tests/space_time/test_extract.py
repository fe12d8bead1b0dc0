from __future__ import annotations

import copy
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from okml.errors import DataError, ParameterError
from okml.space_time.activations import ActivationStore
from okml.space_time.batches import plan_batches
from okml.space_time.extract import extract, iter_states
from okml.space_time.layerwise import stream_layers
from okml.space_time.models import LanguageModel, load_causal_lm
from tests.device import GPU
from tests.processes import Program
from tests.space_time.tiny_models import LAYERS, NEURONS, VOCABULARY, WIDTH, Prompts, sequence

NAMES = {"data_set": "cities", "prompt": "empty"}


def final_norm(lm: LanguageModel) -> torch.nn.Module:
    names = ("norm", "final_layer_norm", "ln_f")
    return next(getattr(lm.base, name) for name in names if hasattr(lm.base, name))


def run(lm: LanguageModel, prompts: Prompts, folder: Path, **options: object) -> ActivationStore:
    options = {"storage": "float32", **options}
    return extract(lm, *prompts, folder, **NAMES, **options)


def test_rows_equal_those_of_output_hidden_states(
    lm: LanguageModel, prompts: Prompts, tmp_path: Path
) -> None:
    store = run(lm, prompts, tmp_path)
    assert store.states.shape == (LAYERS + 1, 40, WIDTH)
    for row in range(40):
        with torch.inference_mode():
            outputs = lm.base(sequence(prompts, row), output_hidden_states=True)
            expected = [state[0, -1] for state in outputs.hidden_states]
            mine = torch.from_numpy(np.array(store.states[:, row]))
            for h in range(LAYERS):  # the embedding and all blocks but the last
                torch.testing.assert_close(mine[h], expected[h], atol=1e-5, rtol=1e-5)
            # transformers returns the last one after the final norm; ours is before it.
            assert not torch.allclose(mine[LAYERS], expected[LAYERS], atol=1e-2)
            torch.testing.assert_close(
                final_norm(lm)(mine[LAYERS]), expected[LAYERS], atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize("token_budget", [1, 9, 10_000])
def test_batches_do_not_change_the_numbers(
    lm: LanguageModel, prompts: Prompts, tmp_path: Path, token_budget: int
) -> None:
    reference = run(lm, prompts, tmp_path, token_budget=20)
    other = run(lm, prompts, tmp_path, token_budget=token_budget)
    np.testing.assert_allclose(other.states, reference.states, atol=1e-5, rtol=1e-5)


def test_right_padding_does_not_change_the_numbers(
    lm: LanguageModel, prompts: Prompts, tmp_path: Path
) -> None:
    store = run(lm, prompts, tmp_path)
    lengths = np.diff(prompts[1])
    padded = torch.zeros(40, int(lengths.max()), dtype=torch.int64)
    for row in range(40):
        padded[row, : lengths[row]] = sequence(prompts, row)[0]
    with torch.inference_mode():
        states = lm.base(padded, output_hidden_states=True).hidden_states
    for h in range(LAYERS):
        expected = states[h][torch.arange(40), torch.from_numpy(lengths) - 1].numpy()
        np.testing.assert_allclose(store.states[h], expected, atol=1e-5, rtol=1e-5)


def test_plan_covers_every_row_once_with_equal_lengths(prompts: Prompts) -> None:
    lengths = np.diff(prompts[1])
    batches = plan_batches(prompts[1], 12)
    assert sorted(np.concatenate(batches)) == list(range(40))
    for rows in batches:
        assert len(set(lengths[rows])) == 1
        assert len(rows) == 1 or lengths[rows].sum() <= 12
    starts = [lengths[rows[0]] for rows in batches]
    assert starts == sorted(starts, reverse=True)


def test_a_finished_store_is_opened_without_running_the_model(
    llama: LanguageModel, prompts: Prompts, tmp_path: Path
) -> None:
    first = run(llama, prompts, tmp_path)
    calls = []
    handle = llama.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    second = run(llama, prompts, tmp_path)
    handle.remove()
    assert calls == []
    assert second.folder == first.folder


@pytest.mark.parametrize(
    "change",
    ["weights", "tokens", "token_budget", "storage", "dtype"],
)
def test_whatever_decides_the_numbers_opens_another_store(
    tiny_folder: Callable[[str], Path], prompts: Prompts, tmp_path: Path, change: str
) -> None:
    folder = tiny_folder("llama")
    first = run(load_causal_lm(folder, device="cpu"), prompts, tmp_path)
    lm = load_causal_lm(folder, dtype="bfloat16" if change == "dtype" else "float32", device="cpu")
    options: dict[str, object] = {}
    ids, offsets = prompts
    match change:
        case "weights":
            with torch.no_grad():
                lm.mlp(0).up.weight[0, 0] += 1
        case "tokens":
            ids = ids.copy()
            ids[1] = ids[1] % (VOCABULARY - 1) + 1
        case "token_budget":
            options["token_budget"] = 7
        case "storage":
            options["storage"] = "float16"
    assert run(lm, (ids, offsets), tmp_path, **options).folder != first.folder


def test_float16_storage_rounds_and_nothing_else(
    llama: LanguageModel, prompts: Prompts, tmp_path: Path
) -> None:
    exact = run(llama, prompts, tmp_path)
    stored = run(llama, prompts, tmp_path, storage="float16")
    np.testing.assert_array_equal(stored.states, exact.states.astype(np.float16))


def test_bfloat16_survives_float16_storage(
    tiny_folder: Callable[[str], Path], prompts: Prompts, tmp_path: Path
) -> None:
    lm = load_causal_lm(tiny_folder("llama"), dtype="bfloat16", device="cpu")
    exact = run(lm, prompts, tmp_path)
    stored = run(lm, prompts, tmp_path, storage="float16")
    np.testing.assert_allclose(stored.states.astype(np.float32), exact.states, rtol=0, atol=1e-7)


def test_overflow_is_an_error_that_names_the_block(
    tiny_folder: Callable[[str], Path], prompts: Prompts, tmp_path: Path
) -> None:
    lm = load_causal_lm(tiny_folder("llama"), dtype="float16", device="cpu")
    with torch.no_grad():
        lm.mlp(1).down.weight.fill_(6e4)
    with pytest.raises(ParameterError, match="after block 1 are not finite in float16") as caught:
        run(lm, prompts, tmp_path)
    assert "bfloat16" in caught.value.hint


def test_values_too_large_for_the_disk_type_are_an_error(
    llama: LanguageModel, prompts: Prompts, tmp_path: Path
) -> None:
    with torch.no_grad():
        llama.mlp(0).down.weight.mul_(1e6)
    with pytest.raises(ParameterError, match="does not fit float16"):
        run(llama, prompts, tmp_path, storage="float16")


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
    llama: LanguageModel, tmp_path: Path, ids: list[int], offsets: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        run(llama, (np.array(ids), np.array(offsets)), tmp_path)


def test_a_failed_batch_keeps_the_finished_ones(
    llama: LanguageModel, prompts: Prompts, tmp_path: Path
) -> None:
    seen = 0

    def fail_at_second_batch(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:  # the shared prefix, then two batches
            raise RuntimeError("out of memory")

    handle = llama.blocks[0].register_forward_hook(fail_at_second_batch)
    with pytest.raises(RuntimeError, match="out of memory"):
        run(llama, prompts, tmp_path / "broken", token_budget=8)
    seen = 100
    resumed = run(llama, prompts, tmp_path / "broken", token_budget=8)
    handle.remove()
    whole = run(llama, prompts, tmp_path / "whole", token_budget=8)
    # The prefix again, and all batches but the first.
    assert seen == 100 + 1 + whole.manifest.parts - 1
    np.testing.assert_array_equal(resumed.states, whole.states)


def test_a_killed_extraction_resumes_to_the_same_numbers(
    tiny_folder: Callable[[str], Path], prompts: Prompts, tmp_path: Path
) -> None:
    model, tokens, folder = tiny_folder("llama"), tmp_path / "tokens.npz", tmp_path / "killed"
    np.savez(tokens, ids=prompts[0], offsets=prompts[1])
    program = Program("tests.space_time.slow_extraction", model, tokens, folder)
    done = 0
    deadline = time.monotonic() + 120
    while done < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
        flags = list(folder.glob("*/done.npy"))
        done = int(np.load(flags[0]).sum()) if flags else 0
    program.kill()
    assert program.wait().returncode == -signal.SIGKILL, "the run ended before it could be killed"

    lm = load_causal_lm(model, device="cpu")
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    handle = lm.blocks[0].register_forward_hook(count)
    resumed = run(lm, prompts, folder, token_budget=8)
    handle.remove()
    whole = run(lm, prompts, tmp_path / "whole", token_budget=8)
    assert 0 < calls <= 1 + whole.manifest.parts - done  # the prefix, and the missing batches
    # Another process may still choose other kernels; rows lost or half-written would be far off.
    np.testing.assert_allclose(resumed.states, whole.states, rtol=0, atol=1e-5)


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
        np.testing.assert_allclose(states, expected, rtol=1e-3, atol=1e-4)


def test_hooks_are_removed(llama: LanguageModel, prompts: Prompts, tmp_path: Path) -> None:
    run(llama, prompts, tmp_path)
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in llama.model.modules()
    )
    assert llama.mlp(0).width == NEURONS


@pytest.mark.realdata
@pytest.mark.slow
def test_smollm2_equals_transformers_and_its_streamed_self(tmp_path: Path) -> None:
    lm = load_causal_lm("smollm2_135m", device="cpu")
    texts = [f"Where is {name}" for name in ("Paris", "Kyiv", "Saint Petersburg", "Lagos", "Rome")]
    sequences = [[lm.document_start, *lm.tokenizer.encode(text)] for text in texts]
    offsets = np.cumsum([0, *map(len, sequences)]).astype(np.int64)
    tokens = (np.concatenate(sequences), offsets)
    store = run(lm, tokens, tmp_path)
    plain = run(lm, tokens, tmp_path, share_prefix=False)
    for layer, states in stream_layers(lm, *tokens, device="cpu", token_budget=1024):
        np.testing.assert_array_equal(states.numpy(), plain.layer(layer))
    for row, ids in enumerate(sequences):
        with torch.inference_mode():
            outputs = lm.base(torch.tensor([ids]), output_hidden_states=True)
        expected = np.stack([state[0, -1].numpy() for state in outputs.hidden_states])
        scale = np.abs(expected).max(axis=1, keepdims=True)
        assert (np.abs(store.states[:-1, row] - expected[:-1]) <= 1e-5 * scale[:-1]).all()
