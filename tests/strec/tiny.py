"""The data sets of the gpu profile as tiny files, and the sizes of a profile for a unit test."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from okml.strec.config import PROFILES
from okml.strec.experiments import efficiency
from okml.strec.schedule import RELEASED
from okml.strec.settings import StrecProfile
from okml.strec.timing import time_turns
from tests.tools.own_data import OwnData
from tests.tools.own_logs import Events, Files, electronics, gowalla, movielens, walks

K = TypeVar("K", bound=Hashable)

ITEMS, USERS, EVENTS = 24, 9, 72
FULL = (50,) * 7 + (1,)

# Numbers of examples, epochs, seeds and widths; all that the profile compares stays in it.
SIZES: dict[str, Any] = {
    "seeds": [2020],
    "device": "cpu",
    "network": {"width": 16, "heads": 2, "hidden": 32},
    **{
        f"recipes.{recipe}.{name}": value
        for recipe in range(len(PROFILES["gpu"].recipes))
        for name, value in {"relaxed_epochs": 1, "hard_epochs": 1, "batch": 512}.items()
    },
    "warm_start": {"epochs": 1, "batch": 64, "evaluate_every": 1},
    "recipes.0.loss.chunk_bytes": 2**20,
    "recipes.1.evaluate_every": 1,
    "causal": {"heads": 2, "epochs": 1, "batch": 64, "evaluate_every": 1},
    "sweep": [FULL, RELEASED[50], (5, 5, 5, 5, 5, 5, 5, 1)],
    "sweep_learned": [RELEASED[50]],
    "relaxed_epoch_sweep": [0],
    "noise_draws": 2,
    "attention_histories": 8,
    "evaluation_batch": 512,
    "compile": False,
    "efficiency": {
        "batch": 4,
        "repeats": 3,
        "serving_batches": [1],
        "serving_calls": 20,
        "lengths": [100],
        "tokens": 200,
    },
}


# How the files of each data set are written, the time of the first event, and gaps of time.
LOGS: dict[str, tuple[Callable[[Events], Files], int, tuple[int, ...]]] = {
    "ml_20m": (movielens("ml-20m"), 1_100_000_000, (0, 30, 4_000, 90_000)),
    "gowalla": (gowalla, 1_270_000_000, (30, 4_000, 90_000)),
    "amazon_electronics": (electronics, 1_300_000_000, (0, 86_400, 864_000)),
}


def events_of(name: str) -> Events:
    """Return the events of a data set: walks on a ring of items."""
    _, start, gaps = LOGS[name]
    return walks(USERS, EVENTS, ITEMS, start=start, gaps=gaps)


def put_logs(data: OwnData) -> None:
    """Put MovieLens-20M, Gowalla and Amazon Electronics into a cache."""
    for name, (write, _, _) in LOGS.items():
        data.files(name, write(events_of(name)))


def tiny(**values: Any) -> StrecProfile:
    """Return the gpu profile at the smallest sizes, on the CPU."""
    return PROFILES["gpu"].override(SIZES | values)


def _timed(
    calls: Mapping[K, Callable[[], object]], rounds: int, *given: Any
) -> dict[K, NDArray[np.float64]]:
    return time_turns(calls, min(rounds, 3), *given)


@contextmanager
def in_few_calls() -> Iterator[None]:
    """Inside the context, times are those of three rounds, each of which computes the same."""
    with mock.patch.object(efficiency, "time_turns", _timed):
        yield
