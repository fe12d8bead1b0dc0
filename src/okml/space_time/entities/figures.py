"""Historical figures: the released set, and how it is built from the Age Dataset."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from okml.space_time.entities.base import EntitySet
from okml.space_time.entities.sources import RELEASE, released
from okml.space_time.entities.splits import uniform_split
from okml.space_time.entities.tables import read_csv

ROWS = 37_539  # of the released file; Table 1
PER_DECADE = 350  # figures kept for each decade of death, the best known first
AFTER_YEAR = -1000

COLUMNS: dict[str, type[pl.DataType]] = {
    "name": pl.String,
    "occupation": pl.String,
    "death_year": pl.Float64,
    "is_test": pl.Boolean,
}

# Columns of the Age Dataset (Annamoradnejad & Annamoradnejad, 2022) and their names here.
AGE_DATASET_COLUMNS = {
    "Id": "wiki_id",
    "Name": "name",
    "Short description": "description",
    "Gender": "gender",
    "Country": "country",
    "Occupation": "occupation",
    "Birth year": "birth_year",
    "Death year": "death_year",
    "Manner of death": "cause_of_death",
    "Age of death": "age",
}


def century(year: str) -> pl.Expr:
    """Return the first year of the century: 1616 is of 1600, and -44 of -100."""
    return 100 * (pl.col(year) / 100).floor().cast(pl.Int64)


def load_historical_figure(path: Path | None = None, rows: int | None = ROWS) -> EntitySet:
    """Load the paper's Figures set.

    Args:
        path: A CSV of the released form; by default the released file itself.
        rows: How many rows it must have; None for a set of your own.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    frame = read_csv(path or released("historical_figure"), COLUMNS, rows)
    return EntitySet(
        name="historical_figure",
        kind="time",
        frame=frame.with_columns(
            entity=pl.col("name").str.strip_chars(),
            occupation=pl.col("occupation").fill_null(""),
            # Computed here: the released column counts centuries, or gives their first year,
            # depending on the version of the authors' code.
            death_century=century("death_year"),
        ),
        targets=("death_year",),
        region="death_century",
        entity_type="occupation",
        split_group=None,
        source=RELEASE if path is None else path.name,
        unit="years",
    )


def build_historical_figures(ages: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Build a table of the released form (Table 1 and the authors' code).

    The file is ordered by Wikidata number, a rough order of fame, so that the first
    ``PER_DECADE`` figures of a decade are its best known. There is no upper bound on the year.

    Args:
        ages: The Age Dataset, ``AgeDataset-V1.csv``.
        seed: Of the random fifth that is held out.
    """
    decade = (pl.col("death_year") / 10).floor()
    table = (
        ages.rename(AGE_DATASET_COLUMNS)
        .drop_nulls("death_year")
        .filter(pl.int_range(pl.len()).over(decade) < PER_DECADE)
        .filter(pl.col("death_year") > AFTER_YEAR)
        .with_columns(
            occupation=pl.col("occupation").fill_null("").str.to_lowercase(),
            death_century=century("death_year"),
        )
    )
    return table.with_columns(is_test=pl.Series(uniform_split(table.height, seed)))
