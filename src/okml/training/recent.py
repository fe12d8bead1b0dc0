"""A cache of the most recent trained models; all others are on disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast

RECENT = 4

P = ParamSpec("P")
T = TypeVar("T")


def recently_trained(train: Callable[P, T]) -> Callable[P, T]:
    """Cache the latest ``RECENT`` results of a training method.

    The method saves each training in a folder and loads it from there when it is called again:
    all networks of a chapter together would fill a GPU.
    """
    return cast(Callable[P, T], lru_cache(maxsize=RECENT)(train))
