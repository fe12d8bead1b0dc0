"""How many finished trainings a study holds; the others lie in their folders."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast

RECENT = 4

P = ParamSpec("P")
T = TypeVar("T")


def recently_trained(train: Callable[P, T]) -> Callable[P, T]:
    """Keep what a method trained while it is among the latest ones.

    For methods that leave each training in a folder and load it from there when they are called
    again: the dozens of networks of a chapter would fill a GPU.
    """
    return cast(Callable[P, T], lru_cache(maxsize=RECENT)(train))
