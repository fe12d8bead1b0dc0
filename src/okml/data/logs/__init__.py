"""Event logs of recommender data sets in one form: ``load("ml_1m").frame``.

``schema`` documents the form, ``readers`` and ``microlens`` read the data sets, and ``k_core`` is
the filter that published protocols share. Logs of impressions have a form of their own:
``load_impressions("kuairand_1k")``, documented in ``impressions``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from okml.data.logs.filters import k_core
from okml.data.logs.impressions import IMPRESSION_SCHEMA, SIGNALS, VIDEO_SCHEMA, ImpressionLog
from okml.data.logs.kuairand import load_kuairand
from okml.data.logs.microlens import load_microlens
from okml.data.logs.readers import (
    load_ader,
    load_archive,
    load_check_ins,
    load_electronics,
    load_merged,
    load_packaged,
    load_yoochoose,
)
from okml.data.logs.schema import (
    EVENT_SCHEMA,
    KINDS,
    TITLE_SCHEMA,
    EventLog,
    TimeSpan,
    validate,
)
from okml.errors import ParameterError
from okml.settings import one_of

__all__ = [
    "EVENT_SCHEMA",
    "IMPRESSION_SCHEMA",
    "KINDS",
    "SIGNALS",
    "TITLE_SCHEMA",
    "VIDEO_SCHEMA",
    "EventLog",
    "ImpressionLog",
    "LogName",
    "TimeSpan",
    "entry_of",
    "impression_names",
    "k_core",
    "load",
    "load_impressions",
    "names",
    "validate",
]

_LOADERS: dict[str, Callable[[], EventLog]] = {
    "ader_diginetica": partial(load_ader, "ader_diginetica"),
    "ader_yoochoose": partial(load_ader, "ader_yoochoose"),
    "amazon_electronics": load_electronics,
    "gowalla": load_check_ins,
    "gowalla_merged": load_merged,
    "microlens_100k": partial(load_microlens, "microlens_100k"),
    "microlens_1m": partial(load_microlens, "microlens_1m"),
    "ml_100k": partial(load_packaged, "ml_100k"),
    "ml_1m": partial(load_packaged, "ml_1m"),
    "ml_20m": partial(load_archive, "ml_20m"),
    "ml_25m": partial(load_archive, "ml_25m"),
    "yoochoose": load_yoochoose,
}
# Logs that are made of the files of another entry of the catalog.
_MADE_OF = {"gowalla_merged": "gowalla"}
_IMPRESSIONS: dict[str, Callable[[], ImpressionLog]] = {
    "kuairand_pure": partial(load_kuairand, "kuairand_pure"),
    "kuairand_1k": partial(load_kuairand, "kuairand_1k"),
    "kuairand_27k": partial(load_kuairand, "kuairand_27k"),
}


def names() -> tuple[str, ...]:
    """Return the names that ``load`` knows."""
    return tuple(_LOADERS)


LogName = Annotated[str, one_of("event log", names)]  # the type of a field of settings


def entry_of(name: str) -> str:
    """Return the name of the catalog's entry whose files a log is read from."""
    return _MADE_OF.get(name, name)


def load(name: str) -> EventLog:
    """Return a log, fetching its files if they are missing.

    Raises:
        ParameterError: If there is no such log.
        DataError: If a file cannot be had or is damaged; the message says what to do.
    """
    if name not in _LOADERS:
        raise ParameterError(f"There is no event log {name!r}.", f"Known: {', '.join(_LOADERS)}.")
    return _LOADERS[name]()


def impression_names() -> tuple[str, ...]:
    """Return the names that ``load_impressions`` knows."""
    return tuple(_IMPRESSIONS)


def load_impressions(name: str) -> ImpressionLog:
    """Return a log of impressions; errors are those of ``load``."""
    if name not in _IMPRESSIONS:
        raise ParameterError(
            f"There is no log of impressions {name!r}.", f"Known: {', '.join(_IMPRESSIONS)}."
        )
    return _IMPRESSIONS[name]()
