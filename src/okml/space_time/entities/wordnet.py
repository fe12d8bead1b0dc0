"""The nouns of WordNet: what each is an instance of, and what the dictionary says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from okml.errors import DataError
from okml.space_time.entities.tables import lines_of, packaged

DATA = ("wordnet", ("data.noun",))
THINGS, PLACES, PEOPLE = "06", "15", "18"  # files noun.artifact, noun.location, noun.person


@dataclass(frozen=True)
class Synset:
    """One line of ``data.noun``: synonyms, what they are an instance of, and the explanation."""

    offset: str
    file: str  # lexicographer file
    words: tuple[str, ...]
    kind: str | None  # offset of the class this is an instance of
    gloss: str


def read_synsets(path: Path | None = None) -> Iterator[Synset]:
    """Yield the nouns of WordNet 3.0 or 3.1.

    Args:
        path: WordNet's ``data.noun``; by default the one in the data cache.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    path = path or packaged("wordnet", "data.noun")
    for number, line in enumerate(lines_of(path), start=1):
        if line.startswith("  "):  # the license
            continue
        try:
            yield _parse(line)
        except (IndexError, ValueError):
            raise DataError(
                f"{path}, line {number} is no WordNet synset.", "Pass WordNet's data.noun."
            ) from None


def _parse(line: str) -> Synset:
    """Parse "offset file type n word id ... m pointer offset pos from-to ... | gloss"."""
    data, gloss = line.split(" | ", 1)
    fields = data.split()
    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    pointers = fields[4 + 2 * len(words) + 1 :]
    instance_of = [pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] == "@i"]
    names = tuple(word.replace("_", " ") for word in words)
    return Synset(fields[0], fields[1], names, next(iter(instance_of), None), gloss.strip())
