"""Prompts and tokens: what the model reads, and at which token it is probed.

A prompt is a prefix. Nothing follows the entity, so its last token is the last of the sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from okml.errors import DataError, ParameterError
from okml.space_time.batches import Ids, Offsets, end_to_end
from okml.space_time.dictionary import entries
from okml.space_time.entities import find
from okml.space_time.entities.base import EntitySet
from okml.space_time.names import without_period

FILLER_TOKENS = 10  # drawn for each entity in the variants `random` and `ordinary`
FIRST_RANDOM_ID = 100  # smaller ids are bytes and control tokens in most vocabularies


@dataclass(frozen=True)
class Prompt:
    """One way of presenting an entity."""

    prefix: str = ""
    upper: bool = False  # the entity in capitals
    period: bool = True  # False: without the entity's final full stop
    # What is drawn for each entity and stands between it and the document start: random tokens, or
    # the first ones of a dictionary entry of a thing.
    filler: Literal["random", "ordinary"] | None = None

    def text(self, entity: str) -> str:
        """Return what the model reads, except for the document start and drawn tokens."""
        entity = entity if self.period else without_period(entity)
        return self.prefix + (entity.upper() if self.upper else entity)


EMPTY, CAPITALS, RANDOM = Prompt(), Prompt(upper=True), Prompt(filler="random")
ORDINARY = Prompt(filler="ordinary")  # the control of random tokens, which the paper lacks
COORDS = Prompt("What are the lat/lon coordinates of ")
WHERE = "Where is "
DATED = "Publication date of: "

# By set of the paper and variant. `where_is` on world_place is of the authors' notebooks only.
PROMPTS: Mapping[str, Mapping[str, Prompt]] = {
    "world_place": {
        "empty": EMPTY, "empty_all_caps": CAPITALS, "random": RANDOM, "ordinary": ORDINARY,
        "coords": COORDS, "where_is": Prompt(WHERE),
    },
    "us_place": {
        "empty": EMPTY, "random": RANDOM, "coords": COORDS,
        "where_us": Prompt("Where in the United States is "),
    },
    "nyc_place": {
        "empty": EMPTY, "random": RANDOM, "where_is": Prompt(WHERE),
        "where_nyc": Prompt("Where in New York City is "),
    },
    "historical_figure": {
        "empty": EMPTY, "random": RANDOM, "when": Prompt("When did "),
        "when_all_caps": Prompt("When did ", upper=True),
    },
    "art": {
        "empty": EMPTY, "random": RANDOM, "release": Prompt("When was the release date of "),
        "empty_all_caps": CAPITALS,
    },
    "headline": {
        "empty": EMPTY, "empty_wo_period": Prompt(period=False), "when_w_period": Prompt(DATED),
        "when_wo_period": Prompt(DATED, period=False),
    },
}  # fmt: skip

# The question about each set in the paper's Figure 2.
_QUESTIONS = {
    "world_place": "coords",
    "us_place": "where_us",
    "nyc_place": "where_nyc",
    "historical_figure": "when",
    "art": "release",
    "headline": "when_w_period",
}
# Tables 2 to 4 and Figures 4 and 5 ask about the USA as about the world.
_TABLE_QUESTIONS = {**_QUESTIONS, "us_place": "coords"}


def prompts_of(name: str) -> Mapping[str, Prompt]:
    """Return the prompts of an entity set; a stand-in has those of the set it stands in for.

    Raises:
        ParameterError: If there is no such set.
    """
    return PROMPTS[find(name).paper_set]


def prompt(name: str, variant: str) -> Prompt:
    """Return one prompt of an entity set.

    Raises:
        ParameterError: If there is no such set, or no such variant for it.
    """
    known = prompts_of(name)
    if variant not in known:
        raise ParameterError(
            f"Unknown prompt {variant!r} for {name}.", f"Prompts: {', '.join(known)}."
        )
    return known[variant]


def default_prompt(name: str) -> str:
    """Return the question that the paper asks about a set in its figures by layer.

    Raises:
        ParameterError: If there is no such set.
    """
    return _QUESTIONS[find(name).paper_set]


def table_prompt(name: str) -> str:
    """Return the question that the paper asks about a set in its tables.

    Raises:
        ParameterError: If there is no such set.
    """
    return _TABLE_QUESTIONS[find(name).paper_set]


@dataclass(frozen=True)
class Tokens:
    """Token sequences of different lengths, end to end.

    Attributes:
        ids: All token ids, ``[sum of lengths]``.
        offsets: The start of each sequence, and the end of the last, ``[n + 1]``.
    """

    ids: Ids
    offsets: Offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Ids:
        """Return the ids of one sequence."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


def tokenize(
    entity_set: EntitySet,
    variant: str,
    tokenizer: Any,
    document_start: int,
    seed: int,
) -> Tokens:
    """Tokenize ``document start + [drawn tokens] + prefix + entity`` for every entity.

    The document start is prepended by hand for every model: it is an attention sink, and a name
    of one token must not be read there. The prefix and the entity are tokenized as one string.

    Args:
        entity_set: The entities to tokenize.
        variant: The name of a prompt of this set.
        tokenizer: A Hugging Face tokenizer.
        document_start: The id of the token that begins a document in pre-training.
        seed: The seed of the drawn tokens; other variants do not depend on it.

    Raises:
        ParameterError: If the variant is unknown, or the vocabulary too small for the ids.
        DataError: If an entity has no tokens.
    """
    style = prompt(entity_set.name, variant)
    if not 0 <= document_start < len(tokenizer):
        raise ParameterError(
            f"The document start {document_start} is not in the vocabulary of {len(tokenizer):,}."
        )
    texts = [style.text(entity) for entity in entity_set.text()]
    encoded: list[list[int]] = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False
    )["input_ids"]
    if without := [text for text, ids in zip(texts, encoded, strict=True) if not ids]:
        raise DataError(f"{entity_set.name}: the tokenizer has no tokens for {without[0]!r}.")

    draw = {"random": _random_ids, "ordinary": _ordinary_ids, None: _no_ids}[style.filler]
    fillers = draw(tokenizer, len(texts), seed)  # [n, FILLER_TOKENS], or [n, 0]
    sequences = (
        [document_start, *filler, *ids] for filler, ids in zip(fillers, encoded, strict=True)
    )
    return Tokens(*end_to_end(sequences))


def _no_ids(_: Any, n: int, __: int) -> Ids:
    return np.empty((n, 0), dtype=np.int64)


def _ordinary_ids(tokenizer: Any, n: int, seed: int) -> Ids:
    """Draw dictionary entries of things and return the first tokens of each, [n, FILLER_TOKENS]."""
    encoded = tokenizer(entries("neither"), add_special_tokens=False)["input_ids"]
    long = np.array([ids[:FILLER_TOKENS] for ids in encoded if len(ids) >= FILLER_TOKENS], np.int64)
    return np.random.default_rng(seed).choice(long, n)


def _random_ids(tokenizer: Any, n: int, seed: int) -> Ids:
    """Draw ids that are neither special nor below ``FIRST_RANDOM_ID``, [n, FILLER_TOKENS]."""
    special = set(tokenizer.all_special_ids) | {
        index for index, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    ids = np.setdiff1d(np.arange(FIRST_RANDOM_ID, len(tokenizer)), sorted(special))
    if not len(ids):
        raise ParameterError(
            f"The vocabulary of {len(tokenizer)} is too small for random tokens from id "
            f"{FIRST_RANDOM_ID} upward."
        )
    return np.random.default_rng(seed).choice(ids, (n, FILLER_TOKENS)).astype(np.int64)
