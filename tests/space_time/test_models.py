from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from okml.errors import DataError, OkmlError, ParameterError, ResourceError
from okml.space_time import models
from okml.space_time.models import LanguageModel, document_start_id, load_causal_lm, randomize
from tests.space_time.tiny_models import CONFIGS, LAYERS, NEURONS, WIDTH, save_tiny_model


def test_every_family_has_its_parts(lm: LanguageModel) -> None:
    assert (lm.n_layers, lm.d_model, lm.document_start) == (LAYERS, WIDTH, 0)
    mlp = lm.mlp(1)
    assert mlp.width == NEURONS
    weights = mlp.neuron_weights()
    assert {tuple(rows.shape) for rows in weights.values()} == {(NEURONS, WIDTH)}
    assert ("gate" in weights) == (lm.model.config.model_type in {"llama", "gemma2"})


def test_rows_of_the_out_weights_write_what_a_neuron_writes(lm: LanguageModel) -> None:
    down = lm.mlp(0).down
    one_hot = torch.zeros(1, NEURONS)
    one_hot[0, 7] = 1.0
    with torch.inference_mode():
        written = (down(one_hot) - down(torch.zeros(1, NEURONS)))[0]
    torch.testing.assert_close(written, lm.mlp(0).neuron_weights()["down"][7], atol=1e-6, rtol=0)


def test_a_layer_that_is_not_there_is_named(llama: LanguageModel) -> None:
    with pytest.raises(ParameterError, match="No layer 3"):
        llama.block(LAYERS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtype_is_the_one_asked_for(tiny_folder: Callable[[str], Path], dtype: str) -> None:
    lm = load_causal_lm(tiny_folder("llama"), dtype=dtype, device="cpu")
    assert str(lm.dtype) == f"torch.{dtype}"
    assert not lm.model.training


def test_untrained_control_differs_and_repeats(llama: LanguageModel) -> None:
    control, again, other = randomize(llama, 3), randomize(llama, 3), randomize(llama, 4)
    assert control.model.config.to_dict() == llama.model.config.to_dict()
    weights = [lm.model.state_dict() for lm in (control, again, other, llama)]
    for name, drawn in weights[0].items():
        assert torch.equal(drawn, weights[1][name])
        if drawn.ndim == 2:  # norms are ones in all of them
            assert not any(torch.equal(drawn, of[name]) for of in weights[2:])


def test_untrained_control_leaves_the_global_seed_alone(llama: LanguageModel) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    randomize(llama, 0)
    assert torch.equal(torch.rand(3), expected)


class _Tokenizer:
    def __init__(self, bos: str | None, *vocabulary: str) -> None:
        self.bos_token = bos
        self._vocabulary = {token: index for index, token in enumerate(vocabulary)}

    def get_vocab(self) -> dict[str, int]:
        return self._vocabulary


@pytest.mark.parametrize(
    ("tokenizer", "expected"),
    [
        (_Tokenizer("<s>", "<unk>", "<s>", "</s>"), 1),  # Llama-2
        (_Tokenizer("<|endoftext|>", "<|endoftext|>"), 0),  # Pythia, GPT-2
        (_Tokenizer("<|im_start|>", "<|endoftext|>", "<|im_start|>"), 0),  # SmolLM2
        (_Tokenizer(None, "a", "b", "<|endoftext|>"), 2),  # no declared start
    ],
)
def test_document_start(tmp_path: Path, tokenizer: _Tokenizer, expected: int) -> None:
    assert document_start_id(str(tmp_path), tokenizer) == expected


def test_no_document_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="starts a document"):
        document_start_id(str(tmp_path), _Tokenizer(None, "a"))


def test_document_start_follows_the_catalog_and_checks_it() -> None:
    tokenizer = _Tokenizer("<|im_start|>", "<|endoftext|>", "<|im_start|>")
    assert document_start_id("smollm2_135m", tokenizer) == 0
    with pytest.raises(DataError, match="not the catalogued one"):
        document_start_id("smollm2_135m", _Tokenizer("<s>", "<s>", "<|endoftext|>"))


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.json"):
        load_causal_lm(tmp_path)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(OkmlError, match="no_such_model"):
        load_causal_lm("no_such_model")


def test_damaged_weights_are_an_error(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be loaded"):
        load_causal_lm(folder, device="cpu")


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_quantization_without_a_gpu_says_what_to_do(
    tiny_folder: Callable[[str], Path], quantization: str
) -> None:
    with pytest.raises(ResourceError, match="need a GPU") as caught:
        load_causal_lm(tiny_folder("llama"), device="cpu", quantization=quantization)
    assert "bfloat16" in caught.value.hint


def test_quantization_says_what_to_install_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as if it were not installed
    with pytest.raises(ResourceError, match="need bitsandbytes") as caught:
        models._bitsandbytes("int8", torch.float16, cuda)
    assert "okml[gpu]" in caught.value.hint
    monkeypatch.delitem(sys.modules, "bitsandbytes")
    (tmp_path / "bitsandbytes.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert models._bitsandbytes("int8", torch.float16, cuda).load_in_8bit


def test_every_known_family_is_covered() -> None:
    assert {config.model_type for config in CONFIGS.values()} == {
        "llama",
        "gpt_neox",
        "gpt2",
        "gemma2",
    }


@pytest.mark.realdata
@pytest.mark.slow
def test_smollm2_is_the_published_model() -> None:
    lm = load_causal_lm("smollm2_135m", device="cpu")
    assert (lm.n_layers, lm.d_model, lm.document_start) == (30, 576, 0)
    assert lm.model.num_parameters() == 134_515_008
    ids = [lm.document_start, *lm.tokenizer.encode("The capital of France is")]
    with torch.inference_mode():
        logits = lm.model(torch.tensor([ids])).logits[0, -1]
    assert lm.tokenizer.decode(logits.argmax()) == " Paris"
