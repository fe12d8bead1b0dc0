"""Strong edges: a user went from the page of one item to another on purpose."""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.events import Cleaned
from okml.lightsage.graph.settings import StrongSettings


def transitions(log: Cleaned, settings: StrongSettings | None = None) -> pl.DataFrame:
    """Return each strong transition: ``user, item, neighbor, day, weight``, one row a day.

    What a model is tested on, too: pairs (i, j) a user went from and to in the test period.
    """
    raise NotImplementedError


def strong_edges(log: Cleaned, settings: StrongSettings | None = None) -> pl.DataFrame:
    """Return the strong edges: the sum of transitions over users and days."""
    raise NotImplementedError
