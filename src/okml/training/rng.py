"""The state of the random number generators that training code draws from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from okml.accelerator import random_states, restore_random_states


def random_state() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's global generators as plain values."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - libraries draw from it
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "accelerator": random_states(),
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Set the global generators to what :func:`random_state` returned."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    restore_random_states(state)


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Restore the generators afterwards, so that evaluations do not change the training."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)
