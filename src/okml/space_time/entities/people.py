"""People of WordNet: a stand-in for the Figures set."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from okml.errors import DataError
from okml.space_time.entities.base import EntitySet
from okml.space_time.entities.columns import century, uniform_split
from okml.space_time.entities.wordnet import PEOPLE, Synset, read_synsets

SOURCE = "WordNet people (Princeton WordNet license)"
SPLIT_SEED = 0
FIRST_DEATH_YEAR = 1500  # earlier figures are few
LIFESPAN = (15, 110)  # years; others are reigns and misprints

# "(1898-1976)", "(circa 1475-1564)", "(1342?-1400)"
LIFE = re.compile(
    r"\((?:born )?(?:circa |ca\. ?|c\. ?)?(\d{3,4})\??\s*-\s*(?:circa |ca\. ?|c\. ?)?(\d{3,4})\??\)"
)


def load_people(path: Path | None = None) -> EntitySet:
    """Load people who died in 1500 or later, under their full names.

    Args:
        path: WordNet's ``data.noun``, 3.0 or 3.1; by default the one in the data cache.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    synsets = {synset.offset: synset for synset in read_synsets(path)}
    frame = pl.DataFrame(
        [person for synset in synsets.values() if (person := _person(synset, synsets))],
        schema={"entity": pl.String, "occupation": pl.String, "death_year": pl.Int64},
        orient="row",
    )
    if frame.is_empty():
        raise DataError(
            f"{path or 'WordNet'} names no people with dates.", "Pass WordNet's data.noun."
        )
    # Namesakes would put one string on both sides of the split.
    frame = frame.filter(
        pl.col("death_year") >= FIRST_DEATH_YEAR, pl.len().over("entity") == 1
    ).with_columns(death_century=century("death_year"))
    return EntitySet(
        name="people",
        kind="time",
        frame=frame.with_columns(is_test=pl.Series(uniform_split(frame.height, SPLIT_SEED))),
        targets=("death_year",),
        region="death_century",
        entity_type="occupation",
        split_group=None,
        source=SOURCE,
    )


def _person(synset: Synset, synsets: dict[str, Synset]) -> tuple[str, str, int] | None:
    """Return full name, occupation and year of death, or None for what is no dated person."""
    life = LIFE.search(synset.gloss)
    if synset.file != PEOPLE or synset.kind not in synsets or not life:
        return None
    birth, death = int(life[1]), int(life[2])
    if not LIFESPAN[0] < death - birth < LIFESPAN[1]:
        return None
    # The first synonym is the bare surname where there are several.
    name = synset.words[min(1, len(synset.words) - 1)]
    return name, synsets[synset.kind].words[0], death
