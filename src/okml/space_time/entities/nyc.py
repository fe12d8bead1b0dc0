"""Points of interest of New York City: the released set, and how it is built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from sklearn.model_selection import train_test_split

from okml.space_time.entities.base import SPACE_TARGETS, EntitySet
from okml.space_time.entities.sources import RELEASE, released
from okml.space_time.entities.splits import TEST_SHARE
from okml.space_time.entities.tables import read_csv
from okml.space_time.names import nyc_case

ROWS = 19_838  # of the released file; Table 1
MIN_NAME_LENGTH = 8  # characters; shorter names are mostly labels
COMPLEX_SPLIT_SEED = 42  # of the authors; it gives back their split of the complexes

COLUMNS: dict[str, type[pl.DataType]] = {
    "name": pl.String,
    "complexid": pl.Int64,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "borough_name": pl.String,
    "facility_t_name": pl.String,
    "is_test": pl.Boolean,
}

BOROUGHS = {
    1: "Manhattan",
    2: "Bronx",
    3: "Brooklyn",
    4: "Queens",
    5: "Staten Island",
    6: "Nassau County",
    7: "Westchester",
    8: "New Jersey",
}
FACILITY_TYPES = {
    1: "Residential",
    2: "Education Facility",
    3: "Cultural Facility",
    4: "Recreational Facility",
    5: "Social Services",
    6: "Transportation Facility",
    7: "Commercial",
    8: "Government Facility (non public safety)",
    9: "Religious Institution",
    10: "Health Services",
    11: "Public Safety",
    12: "Water",
    13: "Miscellaneous",
}


def load_nyc_place(path: Path | None = None, rows: int | None = ROWS) -> EntitySet:
    """Load the paper's NYC set, in mixed case; a complex never straddles the split.

    Args:
        path: A CSV of the released form; by default the released file itself.
        rows: How many rows it must have; None for a set of your own.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    frame = read_csv(path or released("nyc_place"), COLUMNS, rows)
    return EntitySet(
        name="nyc_place",
        kind="space",
        frame=frame.with_columns(
            entity=pl.col("name").map_elements(nyc_case, return_dtype=pl.String),
            # 0 says that a place belongs to no complex.
            complexid=pl.col("complexid").replace(0, None),
        ),
        targets=SPACE_TARGETS,
        region="borough_name",
        entity_type="facility_t_name",
        split_group="complexid",
        source=RELEASE if path is None else path.name,
        unit="degrees",
    )


def build_nyc_places(points: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Build a table of the released form from the city's register of points of interest.

    Buoys and short names are dropped. The authors' file also has the points in a state plane;
    no probe reads those, and they are left out here.

    Args:
        points: The CSV of "Points of Interest" (NYC Open Data, rxuy-2muj): ``the_geom`` as
            "POINT (lon lat)", ``NAME``, ``COMPLEXID``, ``FACILITY_T``, ``BOROUGH``.
        seed: Of the draw among places that belong to no complex. Complexes are split with the
            authors' seed.
    """
    points = points.rename(str.lower)
    lon_lat = pl.col("the_geom").str.extract_groups(r"POINT \((?<lon>\S+) (?<lat>\S+)\)")
    table = points.filter(
        ~pl.col("name").str.contains("BUOY|BOUY"),  # codespell:ignore bouy
        pl.col("name").str.len_chars() >= MIN_NAME_LENGTH,
    ).select(
        "name",
        "complexid",
        longitude=lon_lat.struct.field("lon").cast(pl.Float64),
        latitude=lon_lat.struct.field("lat").cast(pl.Float64),
        borough_name=pl.col("borough").replace_strict(BOROUGHS, default=None),
        facility_t_name=pl.col("facility_t").replace_strict(FACILITY_TYPES, default=None),
    )
    return table.with_columns(is_test=_split(table["complexid"], seed))


def _split(complexes: pl.Series, seed: int) -> pl.Series:
    """Hold out a fifth of the complexes, then lone places until a fifth of the rows is out."""
    test_complexes = split_complexes(complexes)[1]
    is_test = complexes.is_in(test_complexes).to_numpy().copy()
    lone = np.flatnonzero(complexes.to_numpy() == 0)
    missing = int(len(complexes) * TEST_SHARE) - int(is_test.sum())
    rng = np.random.default_rng(seed)
    is_test[rng.choice(lone, min(max(missing, 0), len(lone)), replace=False)] = True
    return pl.Series("is_test", is_test)


def split_complexes(complexes: pl.Series) -> tuple[list[int], list[int]]:
    """Split the distinct complexes, in the order they appear in, as the authors did."""
    distinct = complexes.filter(complexes != 0).unique(maintain_order=True).to_list()
    train, test = train_test_split(distinct, test_size=TEST_SHARE, random_state=COMPLEX_SPLIT_SEED)
    return train, test
