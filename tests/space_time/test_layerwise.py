from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from okml.errors import DataError, ParameterError
from okml.space_time.extract import read_layers
from okml.space_time.layerwise import open_layerwise, stream_layers
from okml.space_time.models import LanguageModel, load_causal_lm, randomize
from okml.space_time.weight_files import Weights
from tests.space_time.tiny_models import CONFIGS, LAYERS, WIDTH, Prompts, save_tiny_model


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_streaming_equals_the_resident_model_bit_for_bit(
    tiny_folder: Callable[[str], Path],
    prompts: Prompts,
    family: str,
    dtype: str,
) -> None:
    folder = tiny_folder(family)
    resident = load_causal_lm(folder, dtype=dtype, device="cpu")
    whole = read_layers(resident, *prompts, token_budget=12, share_prefix=False)
    lm = open_layerwise(folder, dtype=dtype)
    streamed = stream_layers(lm, *prompts, device="cpu", token_budget=12)
    layers = []
    for (layer, states), (same, expected) in zip(streamed, whole, strict=True):
        assert layer == same
        layers.append(layer)
        assert states.shape == (40, WIDTH)
        assert torch.equal(states, expected)
    assert layers == list(range(-1, LAYERS))


def test_other_batches_change_rounding_alone(
    tiny_folder: Callable[[str], Path], prompts: Prompts
) -> None:
    lm = open_layerwise(tiny_folder("llama"), dtype="float32")
    small, large = (
        torch.stack([s for _, s in stream_layers(lm, *prompts, device="cpu", token_budget=budget)])
        for budget in (7, 10_000)
    )
    torch.testing.assert_close(small, large, atol=1e-5, rtol=1e-5)


def test_sharded_weights_are_found(
    tiny_folder: Callable[[str], Path], prompts: Prompts, tmp_path: Path
) -> None:
    whole = tiny_folder("llama")
    sharded = save_tiny_model("llama", tmp_path / "sharded")
    (sharded / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(whole).save_pretrained(sharded, max_shard_size="20KB")
    assert len(list(sharded.glob("model-*.safetensors"))) > 1
    for (_, one), (_, other) in zip(
        *(stream_layers(open_layerwise(f, "float32"), *prompts) for f in (whole, sharded)),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_only_one_block_has_weights_at_a_time(
    tiny_folder: Callable[[str], Path], prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from okml.space_time import layerwise

    built = []
    real = layerwise._skeleton

    def remember(*arguments: object) -> object:
        built.append(real(*arguments))
        return built[0]

    monkeypatch.setattr(layerwise, "_skeleton", remember)
    lm = open_layerwise(tiny_folder("llama"), dtype="float32")
    for _ in stream_layers(lm, *prompts, device="cpu"):
        loaded = [
            any(not parameter.is_meta for parameter in block.parameters()) for block in built[0][1]
        ]
        assert not any(loaded)
    assert all(parameter.is_meta for parameter in lm.model.parameters())


def test_streams_read_in_turn_leave_gradients_as_they_were(
    tiny_folder: Callable[[str], Path], prompts: Prompts
) -> None:
    lm = open_layerwise(tiny_folder("llama"), dtype="float32")
    first, second = (stream_layers(lm, *prompts, device="cpu") for _ in range(2))
    for _ in zip(first, second, strict=True):
        assert not torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()


def test_states_that_are_not_finite_name_their_block(prompts: Prompts, tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.2.mlp.up_proj.weight"
    weights[name] = torch.full_like(weights[name], torch.inf)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ParameterError, match="after block 2 are not finite in float32"):
        list(stream_layers(open_layerwise(folder, "float32"), *prompts, device="cpu"))


def test_missing_weights_are_named(prompts: Prompts, tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"lacks the weights of mlp\.up_proj\.weight"):
        list(stream_layers(open_layerwise(folder), *prompts, device="cpu"))


def test_no_safetensors_is_an_error(prompts: Prompts, tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    with pytest.raises(DataError, match="no safetensors"):
        list(stream_layers(open_layerwise(folder), *prompts, device="cpu"))


def test_damaged_weights_are_an_error(prompts: Prompts, tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match="is damaged"):
        list(stream_layers(open_layerwise(folder), *prompts, device="cpu"))


def test_a_model_without_files_cannot_be_streamed(llama: LanguageModel, prompts: Prompts) -> None:
    with pytest.raises(ParameterError, match="cannot be streamed"):
        list(stream_layers(randomize(llama, 0), *prompts))


INDICES = {
    "empty": "",
    "a list": "[]",
    "no map": "{}",
    "a map that is a list": '{"weight_map": ["x"]}',
    "a file that is a number": '{"weight_map": {"x": 7}}',
    "a file elsewhere": '{"weight_map": {"x": "../secret.safetensors"}}',
    "an absolute path": '{"weight_map": {"x": "/secret.safetensors"}}',
    "the folder above": '{"weight_map": {"x": ".."}}',
    "nested too deeply": "[" * 100_000,
}


@pytest.mark.parametrize("content", INDICES.values(), ids=INDICES)
def test_an_index_names_files_beside_it(content: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(DataError, match="does not say which tensor is in which file"):
        Weights.of(tmp_path)
