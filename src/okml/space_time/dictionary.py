"""Real text that says where something lies, when somebody lived, or neither: WordNet's entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from okml.space_time.entities.people import LIFE
from okml.space_time.entities.wordnet import PEOPLE, PLACES, THINGS, Synset, read_synsets

Topic = Literal["space", "time", "neither"]
SEED = 0  # draws the entries


def entries(topic: Topic, count: int | None = None) -> list[str]:
    """Draw dictionary entries such as "Dover: the capital of the state of Delaware".

    Entries of ``space`` are of named places, those of ``time`` of people with their years, and
    those of ``neither`` of kinds of things that people made.

    Args:
        topic: The topic of the entries.
        count: The number of entries; all if there are fewer, or if there is none.

    Raises:
        DataError: If WordNet cannot be had.
    """
    found = [f"{noun.words[0]}: {noun.gloss}" for noun in _nouns(topic)]
    drawn = np.random.default_rng(SEED).permutation(len(found))[:count]
    return [found[entry] for entry in drawn]


def _nouns(topic: Topic) -> Iterator[Synset]:
    for noun in read_synsets():
        named = noun.kind is not None
        if topic == "space":
            wanted = noun.file == PLACES and named
        elif topic == "time":
            wanted = noun.file == PEOPLE and named and LIFE.search(noun.gloss) is not None
        else:
            wanted = noun.file == THINGS and not named
        if wanted:
            yield noun
