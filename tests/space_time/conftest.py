"""Fixtures of the chapter's tests: tiny language models and prompts for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from okml.space_time.models import LanguageModel, load_causal_lm
from tests.space_time.tiny_models import CONFIGS, VOCABULARY, Prompts, save_tiny_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    saved: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in saved:
            saved[family] = save_tiny_model(family, tmp_path_factory.mktemp(family))
        return saved[family]

    return folder


@pytest.fixture(params=sorted(CONFIGS))
def lm(request: pytest.FixtureRequest, tiny_folder: Callable[[str], Path]) -> LanguageModel:
    """A model of each family."""
    return load_causal_lm(tiny_folder(request.param), device="cpu")


@pytest.fixture
def llama(tiny_folder: Callable[[str], Path]) -> LanguageModel:
    return load_causal_lm(tiny_folder("llama"), device="cpu")


@pytest.fixture
def prompts() -> Prompts:
    """40 prompts of 2 to 7 tokens that start with the document start: flat ids and offsets.

    Each ends in a token of its own: the states of equal ones would differ by rounding alone.
    """
    rng = np.random.default_rng(1)
    last = rng.choice(np.arange(1, VOCABULARY), 40, replace=False)
    sequences = [
        [0, *rng.integers(1, VOCABULARY, length - 2), end]
        for length, end in zip(rng.integers(2, 8, size=40), last, strict=True)
    ]
    offsets = np.cumsum([0, *map(len, sequences)]).astype(np.int64)
    return np.concatenate(sequences).astype(np.int64), offsets
