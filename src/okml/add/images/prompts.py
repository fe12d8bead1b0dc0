"""Captions as vectors, the small stand-in for a text encoder.

A word is a fixed random direction, found from its spelling alone, and a caption the sum of its
words. Captions that share words are near each other, others are nearly orthogonal. Nothing is
learned and nothing is downloaded; what the vectors lack is meaning beyond shared words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

WORD = re.compile(r"[a-z0-9]+")


def caption_vectors(captions: Sequence[str], width: int) -> Tensor:
    """Return a vector for each caption, float32 ``[n, width]``.

    Each has length ``sqrt(width)``, so its entries are of size one (a projection of vectors of
    length one would start near zero). A caption without a word is the zero vector, which is also
    the vector of "no prompt".
    """
    rows = np.zeros((len(captions), width))
    for row, caption in zip(rows, captions, strict=True):
        for word in WORD.findall(caption.lower()):
            row += _direction(word, width)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0) * np.sqrt(width)
    return torch.from_numpy(scaled.astype(np.float32))


@cache
def _direction(word: str, width: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(width)
