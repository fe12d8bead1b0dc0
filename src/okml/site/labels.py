"""The Russian labels of figures and tables: one list, and what is composed of its entries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from okml.paths import repository_root
from okml.site.language import Lang, numbers_in
from okml.yaml_text import parse_yaml

LISTED = "book/ru/labels.yml"
NUMBER = r"(?:(?<!\w)-)?\d[\d,.]*(?<![,.])"
NUMBERS = re.compile(rf"(?<=profile )[a-z]+|(?<![\w@.]){NUMBER}(?:, {NUMBER})*")
PLACEHOLDER = re.compile(r"#|\{\}|\{name\}")
PLACES = {
    "#": rf"({NUMBER}(?:, {NUMBER})*)",
    "{}": r"([^\W\d](?:.*?[\w)+])?)",  # begins with a letter and ends with a word
    "{name}": r"(.+?)",
}
FULL_STOP = r"(?<!\.\.)\.(?: |$)"  # three dots end no sentence
BETWEEN = re.compile(rf"(, |; |: |{FULL_STOP}| \+ | \| | / | → | \(|\)(?=[ ,;:.]|$)| (?=[+-]?\d))")
QUOTED = re.compile(r"(?<![*\w])\*([A-Za-z][^*\n]*)\*(?![*\w])")


@dataclass(frozen=True)
class _Phrase:
    """A listed label with places for other labels, and its translation."""

    english: re.Pattern[str]
    longest: str  # the longest of its words that stand between places
    places: list[str]
    russian: str

    def translated(self, label: str) -> str | None:
        """Return the translation of a label of this form; None for another label."""
        # Most labels lack the words, which is seen in a fraction of the time of a match.
        found = self.english.fullmatch(label) if self.longest in label else None
        if found is None:
            return None
        parts = []
        for place, part in zip(self.places, found.groups(), strict=True):
            russian = part if place == "#" else russian_label(part)
            if russian is None and place == "{}":
                return None
            parts.append(russian or part)
        filled = iter(parts)
        return PLACEHOLDER.sub(lambda _: next(filled), self.russian)


@dataclass(frozen=True)
class _List:
    """What the list holds: labels by their texts, phrases, and what both languages share."""

    labels: dict[str, str]
    phrases: list[_Phrase]
    same: re.Pattern[str]
    longest: int  # number of parts of a listed label, with what stands between them


@cache
def _listed() -> _List:
    found = parse_yaml((repository_root() / LISTED).read_text("utf-8"))
    split = re.compile(f"({PLACEHOLDER.pattern})").split  # keeps the placeholders
    labels = {NUMBERS.sub("#", english): russian for english, russian in found["labels"].items()}
    phrases = [
        _Phrase(
            re.compile("".join(PLACES.get(part, re.escape(part)) for part in split(english))),
            max((part for part in split(english) if part not in PLACES), key=len),
            PLACEHOLDER.findall(english),
            russian,
        )
        for english, russian in labels.items()
        if "{" in english
    ]
    # A label is split before each of its numbers.
    longest = max(len(BETWEEN.split(english.replace("#", "0"))) for english in labels)
    return _List(labels, phrases, re.compile("|".join(found["same"])), longest)


@cache
def russian_label(label: str) -> str | None:
    """Return a label in Russian: as listed, or composed of its parts; None if it is missing."""
    return _as_listed(label) or _if_the_same(label) or _of_parts(label)


def label_in(label: str, lang: Lang) -> str:
    """Return a label in the language of a page; one that is not listed, such as a name, stays."""
    russian = None if lang == "en" else russian_label(label)
    return label if russian is None else numbers_in(russian, lang)


def _as_listed(label: str) -> str | None:
    listed = _listed()
    if (found := listed.labels.get(NUMBERS.sub("#", label))) is not None:
        numbers = iter(NUMBERS.findall(label))
        return re.sub("#", lambda _: next(numbers), found)
    known = (phrase.translated(label) for phrase in listed.phrases)
    return next(filter(None, known), None)


def _if_the_same(label: str) -> str | None:
    return label if _listed().same.fullmatch(label) else None


def _of_parts(label: str) -> str | None:
    """Return a label translated part by part: listed runs of parts, and names that stay.

    This is dynamic programming from the end of the label. At each part, the longest run of parts
    that is listed is taken, or else the shortest that stays, if the rest can be translated, too.
    """
    pieces = BETWEEN.split(label)  # parts, with what stands between two of them in between
    russian_from = {len(pieces) + 1: ""}  # the rest of the label in Russian, by its first part
    for start in range(len(pieces) - 1, -1, -2):
        ends = range(start + 1, min(len(pieces), start + _listed().longest) + 1, 2)
        runs = [("".join(pieces[start:end]), end) for end in ends if end + 1 in russian_from]
        choices = [(_as_listed(run), end) for run, end in reversed(runs)]
        choices += [(_if_the_same(run), end) for run, end in runs]
        for russian, end in choices:
            if russian is not None:
                between = "".join(pieces[end : end + 1])  # nothing after the last part
                russian_from[start] = russian + between + russian_from[end + 1]
                break
    return russian_from.get(0)


def with_russian_quotations(words: str) -> str:
    """Return the Russian words of a cell, with the labels that they quote in italics translated."""

    def exchange(found: re.Match[str]) -> str:
        first, rest = found[1][:1], found[1][1:]
        russian = russian_label(found[1]) or russian_label(first.lower() + rest) or found[1]
        return f"*{russian[:1].upper() if first.isupper() else russian[:1]}{russian[1:]}*"

    return QUOTED.sub(exchange, words)
