"""Parts that the figures of the chapter share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import polars.selectors as cs

from okml.errors import ParameterError

HOVERED = 60  # points with a tooltip; more would make the page heavy
TITLES: Mapping[str, str] = {  # entity set or model: its title
    "world_place": "World",
    "us_place": "USA",
    "us_place_without_zip": "USA without ZIP codes",
    "nyc_place": "New York City",
    "historical_figure": "Figures",
    "art": "Entertainment",
    "headline": "Headlines",
    "cities": "Cities",
    "us_towns": "US towns",
    "people": "People",
    "events": "Events",
    "films": "Films",
    "smollm2_135m": "SmolLM2-135M-Instruct, 4 bits",
}


def title(name: str) -> str:
    """Return the name of an entity set or a model as figures show it."""
    return TITLES.get(name, name)


def titled(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the names in the columns ``set`` and ``model`` as figures show them."""
    return rows.with_columns(cs.by_name("set", "model", require_all=False).replace(TITLES))


def mean_by(rows: pl.DataFrame, x: str, y: str) -> pl.DataFrame:
    """Return the mean of ``y`` over all rows with the same ``x``, in the order of ``x``."""
    return rows.group_by(x).agg(pl.col(y).mean()).sort(x)


def require(rows: pl.DataFrame, what: str) -> None:
    """Refuse to draw nothing.

    Raises:
        ParameterError: If there are no rows.
    """
    if rows.is_empty():
        raise ParameterError(f"There are no {what} to draw.")


def thinned(rows: pl.DataFrame) -> pl.DataFrame:
    """Return every k-th row, so that at most ``HOVERED`` are left."""
    return rows.gather_every(max(1, -(-rows.height // HOVERED)))


def median(values: pl.Series) -> float:
    """Return the median of a column."""
    return float(np.median(values.to_numpy()))
