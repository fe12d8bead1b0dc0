from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from okml.space_time.model_sizes import PUBLISHED_CONFIGS, describe_on_meta
from okml.space_time.models import load_causal_lm

# Of the model cards.
PUBLISHED_PARAMETERS = {
    "smollm2_135m": 134_515_008,
    "llama2_7b": 6_738_415_616,
    "llama2_13b": 13_015_864_320,
    "llama2_70b": 68_976_648_192,
    "pythia_160m": 162_322_944,
    "pythia_410m": 405_334_016,
    "pythia_1b": 1_011_781_632,
    "pythia_1.4b": 1_414_647_808,
    "pythia_2.8b": 2_775_208_960,
    "pythia_6.9b": 6_857_302_016,
}


@pytest.mark.parametrize("name", PUBLISHED_CONFIGS)
def test_parameters_equal_the_published_number(name: str) -> None:
    size = describe_on_meta(PUBLISHED_CONFIGS[name])
    assert size.parameters == PUBLISHED_PARAMETERS[name]
    assert size.weight_bytes["bfloat16"] == 2 * size.parameters


def test_llama_70b_fits_no_80_gb_device_in_16_bits_but_one_block_does() -> None:
    size = describe_on_meta(PUBLISHED_CONFIGS["llama2_70b"])
    assert size.weight_bytes["bfloat16"] > 80e9
    assert 69e9 < size.weight_bytes["int8"] < 70e9
    assert 37e9 < size.weight_bytes["nf4"] < 40e9
    assert 1.7e9 < 2 * size.block_parameters < 1.72e9


def test_a_folder_is_described_without_its_weights(tiny_folder: Callable[[str], Path]) -> None:
    folder = tiny_folder("gpt2")
    lm = load_causal_lm(folder, device="cpu")
    size = describe_on_meta(folder)
    assert size.parameters == sum(p.numel() for p in lm.model.parameters())  # tied head once
    assert (size.n_layers, size.d_model, size.vocabulary) == (3, 32, 64)
