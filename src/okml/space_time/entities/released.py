"""The paper's six entity sets, as its authors released them (Table 1).

The headlines may not be redistributed; their loader reads a file that the user supplies.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from okml.space_time.entities.base import SPACE_TARGETS, EntitySet
from okml.space_time.entities.columns import century, decade, five_digits, fractional_year
from okml.space_time.entities.tables import Columns, packaged, read_csv
from okml.space_time.names import creation, nyc_case, region_first, with_period

RELEASE = "released entity sets of Gurnee & Tegmark (2023)"
PLACE: Columns = {
    "name": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "is_test": pl.Boolean,
}
# The columns that are read of each file.
COLUMNS: dict[str, Columns] = {
    "world_place": {
        "name": pl.String,
        "entity_subtype": pl.String,
        "country": pl.String,
        "latitude": pl.Float64,
        "longitude": pl.Float64,
        "page_views": pl.Float64,
        "entity_type": pl.String,
        "population": pl.Float64,
        "is_test": pl.Boolean,
    },
    "us_place": {
        **PLACE,
        "state_id": pl.String,
        "state_name": pl.String,
        "population": pl.Float64,
        "timezone": pl.String,
        "entity_type": pl.String,
    },
    "nyc_place": {
        **PLACE,
        "complexid": pl.Int64,
        "borough_name": pl.String,
        "facility_t_name": pl.String,
    },
    "historical_figure": {
        "name": pl.String,
        "occupation": pl.String,
        "death_year": pl.Float64,
        "is_test": pl.Boolean,
    },
    "art": {
        "title": pl.String,
        "creator": pl.String,
        "release_date": pl.Date,
        "page_views": pl.Float64,
        "entity_type": pl.String,
        "is_test": pl.Boolean,
    },
    "headline": {
        "headline": pl.String,
        "pub_date": pl.Date,
        "news_desk": pl.String,
        "is_test": pl.Boolean,
    },
}


def load_world_place(path: Path | None = None) -> EntitySet:
    """Load the World set. The region of a name is moved to its front.

    Args:
        path: A CSV of the released form; by default the released file itself.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    frame = _read("world_place", path)
    rewritten = pl.col("name").map_elements(region_first, return_dtype=pl.String)
    return _entity_set(
        "world_place",
        path,
        frame.with_columns(entity=rewritten),
        region="country",
        entity_type="entity_type",
    )


def load_us_place(path: Path | None = None, *, include_zip: bool = True) -> EntitySet:
    """Load the USA set. Its names are read as they are, without moving the region.

    Args:
        path: A CSV of the released form; by default the released file itself.
        include_zip: Whether to keep ZIP codes, two fifths of the set. Their digits are a
            geographic code, so the set should also be reported without them.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    is_zip = pl.col("entity_type") == "zip"
    # A spreadsheet that opened the file may have removed leading zeros.
    entity = pl.when(is_zip).then(five_digits("name")).otherwise(pl.col("name").str.strip_chars())
    places = _entity_set(
        "us_place" if include_zip else "us_place_without_zip",
        path,
        _read("us_place", path).with_columns(entity=entity),
        region="state_id",
        entity_type="entity_type",
    )
    return places if include_zip else places.filter(~is_zip)


def load_nyc_place(path: Path | None = None) -> EntitySet:
    """Load the NYC set, in mixed case; a complex never straddles the split.

    Args:
        path: A CSV of the released form; by default the released file itself.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    frame = _read("nyc_place", path).with_columns(
        entity=pl.col("name").map_elements(nyc_case, return_dtype=pl.String),
        complexid=pl.col("complexid").replace(0, None),  # 0 means that there is no complex
    )
    return _entity_set(
        "nyc_place",
        path,
        frame,
        region="borough_name",
        entity_type="facility_t_name",
        split_group="complexid",
    )


def load_historical_figure(path: Path | None = None) -> EntitySet:
    """Load the Figures set.

    Args:
        path: A CSV of the released form; by default the released file itself.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    frame = _read("historical_figure", path).with_columns(
        entity=pl.col("name").str.strip_chars(),
        occupation=pl.col("occupation").fill_null("").str.to_lowercase(),
        # The released column counts centuries, or gives their first year, depending on the
        # version of the authors' code.
        death_century=century("death_year"),
    )
    return _entity_set(
        "historical_figure",
        path,
        frame,
        target="death_year",
        region="death_century",
        entity_type="occupation",
    )


def load_art(path: Path | None = None) -> EntitySet:
    """Load the Art set of songs, films and books; a creator never straddles the split.

    Args:
        path: A CSV of the released form; by default the released file itself.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    entity = pl.struct("creator", "title").map_elements(
        lambda work: creation(work["creator"], work["title"]), return_dtype=pl.String
    )
    frame = _read("art", path).with_columns(
        entity=entity,
        release_date=fractional_year("release_date"),
        decade=decade("release_date"),
    )
    return _entity_set(
        "art",
        path,
        frame,
        target="release_date",
        region="decade",
        entity_type="entity_type",
        split_group="creator",
    )


def load_headline(path: Path | None = None) -> EntitySet:
    """Load the Headlines set. Every headline ends with a full stop.

    Args:
        path: A CSV of the authors' form; by default ``headline.csv`` in the data cache.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    frame = _read("headline", path).with_columns(
        entity=pl.col("headline").map_elements(with_period, return_dtype=pl.String),
        pub_date=fractional_year("pub_date"),
        year=pl.col("pub_date").dt.year().cast(pl.Int64),
    )
    return _entity_set(
        "headline", path, frame, target="pub_date", region="year", entity_type="news_desk"
    )


def released(name: str) -> Path:
    """Return the released CSV of one of the sets.

    Raises:
        DataError: If it cannot be had.
    """
    return packaged("world_models", f"{name}.csv")


def _read(name: str, path: Path | None) -> pl.DataFrame:
    return read_csv(path or released(name), COLUMNS[name])


def _entity_set(
    name: str,
    path: Path | None,
    frame: pl.DataFrame,
    region: str,
    entity_type: str,
    split_group: str | None = None,
    target: str | None = None,
) -> EntitySet:
    """Return a set of places, or of what is dated by the column ``target``."""
    source = RELEASE if path is None else path.name
    groups = (region, entity_type, split_group)
    if target is None:
        return EntitySet(name, "space", frame, SPACE_TARGETS, *groups, source, "degrees")
    return EntitySet(name, "time", frame, (target,), *groups, source, "years")
