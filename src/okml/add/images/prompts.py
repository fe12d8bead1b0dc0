"""Captions as vectors: the text encoders of the small networks.

With ``words``, a word is a fixed random direction, found from its spelling alone, and a caption the
sum of its words: captions that share words are near each other, others are nearly orthogonal.
Nothing is learned and nothing is downloaded; what the vectors lack is meaning beyond shared words.
With ``sentences``, a caption is its vector by all-MiniLM-L6-v2, a pretrained sentence encoder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.data import local_model

TextEncoder = Literal["words", "sentences"]
WORD = re.compile(r"[a-z0-9]+")
SENTENCE_MODEL, SENTENCE_WIDTH = "minilm_l6", 384
BATCH = 256  # captions encoded at a time


def caption_vectors(captions: Sequence[str], width: int, encoder: TextEncoder = "words") -> Tensor:
    """Return a vector for each caption, float32 ``[n, width]``.

    Each has length ``sqrt(width)``, so its entries are of size one (a projection of vectors of
    length one would start near zero). A caption without a word is the zero vector, which is also
    the vector of "no prompt".

    Args:
        captions: The texts to encode, n of them.
        width: The width of the vectors; at most 384 for sentences.
        encoder: The text encoder.

    Raises:
        DataError: If the weights of the sentence encoder cannot be had.
    """
    rows = (_sentences if encoder == "sentences" else _words)(captions, width)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0) * np.sqrt(width)
    return torch.from_numpy(scaled.astype(np.float32))


def _words(captions: Sequence[str], width: int) -> NDArray[np.float64]:
    rows = np.zeros((len(captions), width))
    for row, caption in zip(rows, captions, strict=True):
        for word in WORD.findall(caption.lower()):
            row += _direction(word, width)
    return rows


@cache
def _direction(word: str, width: int) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(width)


@torch.no_grad()
def _sentences(captions: Sequence[str], width: int) -> NDArray[np.float64]:
    """Return means over the tokens of the last layer, on ``width`` fixed orthogonal axes."""
    tokenizer, model = _sentence_model()
    parts = [torch.zeros(0, SENTENCE_WIDTH)]
    for start in range(0, len(captions), BATCH):
        tokens = tokenizer(
            list(captions[start : start + BATCH]),
            padding=True, truncation=True, return_tensors="pt",
        )  # fmt: skip
        hidden = model(**tokens).last_hidden_state  # [b, tokens, 384]
        real = tokens["attention_mask"][..., None]
        parts.append((hidden * real).sum(1) / real.sum(1))
    said = np.array([[bool(WORD.search(caption.lower()))] for caption in captions])
    found: NDArray[np.float64] = said * torch.cat(parts).double().numpy() @ _axes(width)
    return found


@cache
def _sentence_model() -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    folder = local_model(SENTENCE_MODEL)
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


@cache
def _axes(width: int) -> NDArray[np.float64]:
    """Return orthonormal columns ``[384, width]``: which ones means nothing, so they are fixed."""
    normal = np.random.default_rng(0).standard_normal((SENTENCE_WIDTH, width))
    return np.asarray(np.linalg.qr(normal)[0])
