"""The paper's six entity sets, as its authors released them (Table 1).

The headlines may not be redistributed; their loader reads a file that the user supplies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from okml.space_time.entities.base import SPACE_TARGETS, EntitySet
from okml.space_time.entities.columns import century, decade, five_digits, fractional_year
from okml.space_time.entities.tables import Columns, packaged, read_csv
from okml.space_time.names import creation, nyc_case, region_first, with_period

RELEASE = "released entity sets of Gurnee & Tegmark (2023)"
TEXT, NUMBER = pl.String, pl.Float64
SPLIT: Columns = {"is_test": pl.Boolean}
PLACE: Columns = {"name": TEXT, "latitude": NUMBER, "longitude": NUMBER, **SPLIT}
# The columns that are read of each file.
COLUMNS: dict[str, Columns] = {
    "world_place": {
        "name": TEXT, "entity_subtype": TEXT, "country": TEXT, "latitude": NUMBER,
        "longitude": NUMBER, "page_views": NUMBER, "entity_type": TEXT, "population": NUMBER,
        **SPLIT,
    },
    "us_place": {
        **PLACE, "state_id": TEXT, "state_name": TEXT, "population": NUMBER, "timezone": TEXT,
        "entity_type": TEXT,
    },
    "nyc_place": {
        **PLACE, "complexid": pl.Int64, "borough_name": TEXT, "facility_t_name": TEXT,
    },
    "historical_figure": {"name": TEXT, "occupation": TEXT, "death_year": NUMBER, **SPLIT},
    "art": {
        "title": TEXT, "creator": TEXT, "release_date": pl.Date, "page_views": NUMBER,
        "entity_type": TEXT, **SPLIT,
    },
    "headline": {"headline": TEXT, "pub_date": pl.Date, "news_desk": TEXT, **SPLIT},
}  # fmt: skip


def _text(column: str, how: Callable[[str], str]) -> pl.Expr:
    return pl.col(column).map_elements(how, return_dtype=pl.String)


@dataclass(frozen=True)
class Released:
    """What the columns of a released file mean; see :class:`EntitySet`.

    Attributes:
        entity: The name as the model reads it.
        region: Column for block hold-outs.
        entity_type: Column for hold-outs across entity types.
        derived: Columns that replace others or join them.
        split_group: Column whose values never straddle the split.
        target: Column of years; None for places.
    """

    entity: pl.Expr
    region: str
    entity_type: str
    derived: Mapping[str, pl.Expr] = field(default_factory=dict)
    split_group: str | None = None
    target: str | None = None


IS_ZIP = pl.col("entity_type") == "zip"
RELEASED: Mapping[str, Released] = {
    "world_place": Released(_text("name", region_first), "country", "entity_type"),
    # Names are read as they are, without moving the region. A spreadsheet that opened the file may
    # have removed leading zeros.
    "us_place": Released(
        pl.when(IS_ZIP).then(five_digits("name")).otherwise(pl.col("name").str.strip_chars()),
        "state_id",
        "entity_type",
    ),
    "nyc_place": Released(
        _text("name", nyc_case),
        "borough_name",
        "facility_t_name",
        {"complexid": pl.col("complexid").replace(0, None)},  # 0 means that there is no complex
        split_group="complexid",
    ),
    "historical_figure": Released(
        pl.col("name").str.strip_chars(),
        "death_century",
        "occupation",
        {
            "occupation": pl.col("occupation").fill_null("").str.to_lowercase(),
            # The released column counts centuries, or gives their first year, depending on the
            # version of the authors' code.
            "death_century": century("death_year"),
        },
        target="death_year",
    ),
    "art": Released(
        pl.struct("creator", "title").map_elements(
            lambda work: creation(work["creator"], work["title"]), return_dtype=pl.String
        ),
        "decade",
        "entity_type",
        {"release_date": fractional_year("release_date"), "decade": decade("release_date")},
        split_group="creator",
        target="release_date",
    ),
    # Every headline ends with a full stop.
    "headline": Released(
        _text("headline", with_period),
        "year",
        "news_desk",
        {
            "pub_date": fractional_year("pub_date"),
            "year": pl.col("pub_date").dt.year().cast(pl.Int64),
        },
        target="pub_date",
    ),
}


def load_released(name: str, path: Path | None = None) -> EntitySet:
    """Load one of the paper's sets.

    Args:
        name: The name of the set, a key of ``RELEASED``.
        path: A CSV of the released form; by default the released file itself.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    means = RELEASED[name]
    frame = read_csv(path or released(name), COLUMNS[name])
    return EntitySet(
        name=name,
        kind="space" if means.target is None else "time",
        frame=frame.with_columns(entity=means.entity, **means.derived),
        targets=SPACE_TARGETS if means.target is None else (means.target,),
        region=means.region,
        entity_type=means.entity_type,
        split_group=means.split_group,
        source=RELEASE if path is None else path.name,
    )


def load_us_place_without_zip(path: Path | None = None) -> EntitySet:
    """Load the USA set without ZIP codes, two fifths of it: their digits are a geographic code."""
    return replace(load_released("us_place", path).filter(~IS_ZIP), name="us_place_without_zip")


def released(name: str) -> Path:
    """Return the released CSV of one of the sets.

    Raises:
        DataError: If it cannot be had.
    """
    return packaged("world_models", f"{name}.csv")
