"""Event logs of recommender data sets in one form: ``load("ml_1m").sorted().frame``.

``schema`` documents the form, one module a data set reads its files, and ``k_core`` is the filter
that published protocols share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from okml.data.logs.ader import load_ader
from okml.data.logs.amazon import load_electronics
from okml.data.logs.filters import k_core
from okml.data.logs.gowalla import load_check_ins, load_merged
from okml.data.logs.movielens import load_archive, load_packaged
from okml.data.logs.schema import (
    EVENT_SCHEMA,
    KINDS,
    TITLE_SCHEMA,
    EventLog,
    Summary,
    TimeSpan,
    validate,
)
from okml.data.logs.yoochoose import load_yoochoose
from okml.errors import ParameterError

__all__ = [
    "EVENT_SCHEMA",
    "KINDS",
    "TITLE_SCHEMA",
    "EventLog",
    "Summary",
    "TimeSpan",
    "k_core",
    "load",
    "names",
    "validate",
]

_LOADERS: dict[str, Callable[[], EventLog]] = {
    "ader_diginetica": partial(load_ader, "ader_diginetica"),
    "ader_yoochoose": partial(load_ader, "ader_yoochoose"),
    "amazon_electronics": load_electronics,
    "gowalla": load_check_ins,
    "gowalla_merged": load_merged,
    "ml_100k": partial(load_packaged, "ml_100k"),
    "ml_1m": partial(load_packaged, "ml_1m"),
    "ml_20m": partial(load_archive, "ml_20m"),
    "ml_25m": partial(load_archive, "ml_25m"),
    "yoochoose": load_yoochoose,
}


def names() -> tuple[str, ...]:
    """Return the names that ``load`` knows."""
    return tuple(_LOADERS)


def load(name: str) -> EventLog:
    """Return a log, fetching its files when they are not here.

    Raises:
        ParameterError: If there is no such log.
        DataError: If a file cannot be had or is damaged; the message says what to do.
    """
    if name not in _LOADERS:
        raise ParameterError(f"There is no event log {name!r}.", f"Known: {', '.join(_LOADERS)}.")
    return _LOADERS[name]()
