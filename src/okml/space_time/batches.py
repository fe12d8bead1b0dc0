"""Batches of token sequences of one length: no padding, hence no attention mask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from okml.errors import DataError, ParameterError

Ids = NDArray[np.integer[Any]]
Offsets = NDArray[np.int64]
Rows = NDArray[np.int64]


def end_to_end(sequences: Iterable[ArrayLike]) -> tuple[Ids, Offsets]:
    """Return the ids of all sequences as one array, and where each starts and the last ends."""
    parts = [np.asarray(sequence, np.int64) for sequence in sequences]
    ends = np.cumsum([len(part) for part in parts])
    return np.concatenate(parts), np.concatenate(([0], ends)).astype(np.int64)


def check_tokens(ids: Ids, offsets: Offsets, config: Any) -> None:
    """Check flat token ids, and the offsets that cut them, against the configuration of a model.

    Raises:
        DataError: If a sequence is empty or too long, the offsets do not fit, or an id is not in
            the vocabulary.
    """
    if offsets.ndim != 1 or len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != len(ids):
        raise DataError(f"Offsets must run from 0 to the number of token ids, {len(ids)}.")
    longest, vocabulary = config.max_position_embeddings, config.vocab_size
    lengths = np.diff(offsets)
    if (lengths < 1).any():
        raise DataError(f"Entity {int(np.argmax(lengths < 1))} has no tokens.")
    if lengths.max() > longest:
        raise DataError(
            f"Entity {int(lengths.argmax())} has {int(lengths.max())} tokens; "
            f"the model reads at most {longest}."
        )
    if ids.min() < 0 or ids.max() >= vocabulary:
        raise DataError(
            f"Token ids must lie in 0 to {vocabulary - 1}.",
            "Tokenize with the tokenizer of the same model.",
        )


def plan_batches(offsets: Offsets, token_budget: int) -> list[Rows]:
    """Group sequences by exact length and cut each group into batches.

    Args:
        offsets: Starts of the sequences and the end of the last, [n + 1].
        token_budget: Most tokens in one batch; a longer sequence is a batch of its own.

    Returns:
        The rows of each batch, longest sequences first, so that memory peaks at the start.

    Raises:
        ParameterError: If the budget is not positive.
    """
    if token_budget < 1:
        raise ParameterError("The token budget of a batch must be at least 1.")
    lengths = np.diff(offsets)
    batches: list[Rows] = []
    for length in np.unique(lengths)[::-1]:
        rows = np.flatnonzero(lengths == length)
        size = max(1, token_budget // int(length))
        batches += [rows[start : start + size] for start in range(0, len(rows), size)]
    return batches


def read_batch(ids: Ids, offsets: Offsets, rows: Rows, device: torch.device) -> Tensor:
    """Gather the token ids of sequences of equal length on ``device``, [B, T]."""
    length = int(offsets[rows[0] + 1] - offsets[rows[0]])
    positions = offsets[rows][:, None] + np.arange(length)  # [B, T]
    return torch.from_numpy(ids[positions].astype(np.int64)).to(device)
