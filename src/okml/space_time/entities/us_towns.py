"""American towns, counties and ZIP codes from a table of ZIP codes: a stand-in for the USA set.

It has several entity types, ZIP codes among them, so that hold-outs across types and the
string baseline on ZIP codes can be shown without the released files.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from okml.space_time.entities.base import SPACE_TARGETS, EntitySet
from okml.space_time.entities.columns import five_digits, unambiguous, uniform_split
from okml.space_time.entities.tables import packaged, read_csv

SOURCE = "US ZIP codes, from the package vega-datasets"
SPLIT_SEED = 0
# States and territories that the paper leaves out, three island states in free association, and
# military post offices, which have no place.
NOT_CONTIGUOUS = ("AK", "HI", "PR", "VI", "GU", "AS", "MP", "FM", "MH", "PW", "AA", "AE", "AP")
MAX_LATITUDE = 50.0  # degrees; nothing contiguous lies further north

COLUMNS: dict[str, type[pl.DataType]] = {
    "zip_code": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "city": pl.String,
    "state": pl.String,
    "county": pl.String,
}


def load_us_towns(path: Path | None = None) -> EntitySet:
    """Load towns, counties and ZIP codes; a town or county lies at the mean of its ZIP codes.

    The table has no population. A name that several places share is kept for the one with over
    twice the ZIP codes of the next, as the paper does with people.

    Args:
        path: ``zipcodes.csv``; by default the one in the data cache.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    zips = read_csv(path or packaged("us_zipcodes", "zipcodes.csv"), COLUMNS)
    zips = zips.drop_nulls().filter(
        ~pl.col("state").is_in(NOT_CONTIGUOUS), pl.col("latitude") < MAX_LATITUDE
    )
    codes = zips.select(
        entity=five_digits("zip_code"),
        longitude="longitude",
        latitude="latitude",
        state_id="state",
        entity_type=pl.lit("zip"),
    )
    county = pl.when(pl.col("state") == "LA").then(pl.lit(" Parish")).otherwise(pl.lit(" County"))
    towns = _merged(zips.with_columns(entity=pl.col("city").str.strip_chars()), "city")
    counties = _merged(
        zips.with_columns(entity=pl.col("county").str.strip_chars() + county), "county"
    )
    frame = pl.concat([towns, counties, codes])
    return EntitySet(
        name="us_towns",
        kind="space",
        frame=frame.with_columns(is_test=pl.Series(uniform_split(frame.height, SPLIT_SEED))),
        targets=SPACE_TARGETS,
        region="state_id",
        entity_type="entity_type",
        split_group=None,
        source=SOURCE,
    )


def _merged(zips: pl.DataFrame, entity_type: str) -> pl.DataFrame:
    places = zips.group_by("entity", "state", maintain_order=True).agg(
        pl.col("longitude", "latitude").mean(), zip_codes=pl.len()
    )
    return unambiguous(places, "entity", "zip_codes").select(
        "entity",
        "longitude",
        "latitude",
        state_id="state",
        entity_type=pl.lit(entity_type),
    )
