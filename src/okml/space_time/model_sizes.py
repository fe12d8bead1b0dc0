"""The sizes of the models, known without downloading them.

``PUBLISHED_CONFIGS`` holds the fields of each checkpoint's ``config.json`` that decide its size. A
test builds every one on the meta device and compares its parameters with the published number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights
from transformers import AutoConfig, AutoModelForCausalLM

from okml.data.models import local_model
from okml.space_time.models import find_blocks


def _llama2(width: int, mlp: int, blocks: int, heads: int, kv_heads: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 4_096,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    }


def _pythia(width: int, blocks: int, heads: int, vocabulary: int = 50_304) -> dict[str, Any]:
    return {
        "model_type": "gpt_neox",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "max_position_embeddings": 2_048,
        "rotary_pct": 0.25,
        "use_parallel_residual": True,
        "tie_word_embeddings": False,
    }


PUBLISHED_CONFIGS: dict[str, dict[str, Any]] = {
    "smollm2_135m": _llama2(576, 1_536, 30, 9, 3)
    | {"vocab_size": 49_152, "max_position_embeddings": 8_192, "tie_word_embeddings": True},
    "llama2_7b": _llama2(4_096, 11_008, 32, 32, 32),
    "llama2_13b": _llama2(5_120, 13_824, 40, 40, 40),
    "llama2_70b": _llama2(8_192, 28_672, 80, 64, 8),
    "pythia_160m": _pythia(768, 12, 12),
    "pythia_410m": _pythia(1_024, 24, 16),
    "pythia_1b": _pythia(2_048, 16, 8),
    "pythia_1.4b": _pythia(2_048, 24, 16),
    "pythia_2.8b": _pythia(2_560, 32, 32),
    "pythia_6.9b": _pythia(4_096, 32, 32, vocabulary=50_432),
}
"""Architecture of every model the paper probes, and of the small one, by its catalog name."""


@dataclass(frozen=True)
class ModelSize:
    """How large a model is, without its weights.

    Attributes:
        parameters: Number of parameters; tied ones count once.
        block_parameters: Number of parameters of one decoder layer.
        n_layers: Number of decoder layers.
        d_model: Width of the residual stream.
        vocabulary: Number of token ids.
        weight_bytes: Bytes of all weights, by dtype or quantization. ``int8`` and ``nf4`` change
            the linear maps of the decoder layers only and keep the rest in 16 bits; ``nf4`` has
            one float32 scale for every 64 weights.
    """

    parameters: int
    block_parameters: int
    n_layers: int
    d_model: int
    vocabulary: int
    weight_bytes: dict[str, int]


def describe_on_meta(config_or_folder: Mapping[str, Any] | str | Path) -> ModelSize:
    """Count a model's parameters on the meta device, which takes no memory.

    Args:
        config_or_folder: A configuration (``PUBLISHED_CONFIGS``) or a model folder.

    Raises:
        DataError: If a folder has no configuration.
    """
    if isinstance(config_or_folder, Mapping):
        config = AutoConfig.for_model(**config_or_folder)
    else:
        config = AutoConfig.from_pretrained(
            local_model(str(config_or_folder)), local_files_only=True
        )
    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()  # placing parameters on the meta device unties them
    blocks = find_blocks(model.base_model)[1]
    total = sum(p.numel() for p in model.parameters())
    linear = sum(p.numel() for p in blocks.parameters() if p.ndim == 2)
    rest = total - linear
    return ModelSize(
        parameters=total,
        block_parameters=sum(p.numel() for p in blocks[0].parameters()),
        n_layers=len(blocks),
        d_model=config.hidden_size,
        vocabulary=config.vocab_size,
        weight_bytes={
            "float32": 4 * total,
            "bfloat16": 2 * total,
            "float16": 2 * total,
            "int8": linear + 2 * rest,
            "nf4": linear // 2 + linear // 64 * 4 + 2 * rest,
        },
    )


def known_config(name: str) -> Mapping[str, Any] | str:
    """Return the published configuration of a model, or ``name`` itself, to be found on disk."""
    return PUBLISHED_CONFIGS.get(name, name)
