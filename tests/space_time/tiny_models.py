"""Tiny random language models of every family, saved and loaded like real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

VOCABULARY = 64
WIDTH = 32
LAYERS = 3
NEURONS = 48

# Weights large enough that the blocks are far from linear.
SCALE = 0.2

CONFIGS = {
    "llama": LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=NEURONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=SCALE,
    ),
    "neox": GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=NEURONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=SCALE,
    ),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=WIDTH,
        n_inner=NEURONS,
        n_layer=LAYERS,
        n_head=4,
        n_positions=64,
        initializer_range=SCALE,
    ),
    "gemma2": Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=NEURONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=32,
        max_position_embeddings=64,
        initializer_range=SCALE,
    ),
}


def save_tiny_model(family: str, folder: Path, seed: int = 0) -> Path:
    """Save a random model with a word tokenizer: ids 0 to 63 are ``<|endoftext|>``, w1, w2, …"""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[family], dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            # Biases and norms start at trivial values; give them some.
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    words = {"<|endoftext|>": 0} | {f"w{index}": index for index in range(1, VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="w1"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    ).save_pretrained(folder)
    return folder


Prompts = tuple[np.ndarray, np.ndarray]


def sequence(prompts: Prompts, row: int) -> torch.Tensor:
    """Return one prompt's ids, [1, T]."""
    ids, offsets = prompts
    return torch.from_numpy(ids[offsets[row] : offsets[row + 1]])[None]
