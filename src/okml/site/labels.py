"""The Russian labels of figures and tables: one list, applied to what the cells of a notebook show.

A figure is drawn and a table is rendered in English, by the run of a notebook or from a record. On
a Russian page the texts inside are replaced: an SVG holds them as text, so nothing is drawn again.
The text alternatives and the tooltips of figures are replaced, too; their sentences are composed of
labels and numbers.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from okml.paths import repository_root
from okml.plotting import text_length
from okml.site.language import Lang, numbers_in
from okml.yaml_text import parse_yaml

LISTED = "book/ru/labels.yml"
# Texts of our figures and tables. A formula is no label: it holds elements.
TEXT = re.compile(
    r"(?P<before><(?P<of>text|title|th|td|caption|legend)\b[^>]*>|<label><input\b[^>]*>)"
    r"(?P<label>[^<]+)(?=</)"
)
ALTERNATIVE = re.compile(r'(?P<before>\s(?:aria-label|alt)=")(?P<label>[^"]+)')
VALUE = "td"  # a table's cell: its words are translated, a name not listed stays
OURS = re.compile(r'<figure class="okml-figure"|<table class="okml-table"|<div class="okml-steps\b')
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
# In a drawing by matplotlib: its frame, and each text with its style and its place.
FRAME = re.compile(r'<svg\b([^>]*?viewBox="([^"]*)"[^>]*)>')
SIZES = re.compile(r'width="[^"]*" height="[^"]*"')
DRAWN = re.compile(r'<text style="([^"]*)"([^>]*)>([^<]+)</text>')
SIZE, ANCHOR = re.compile(r"([\d.]+)px"), re.compile(r"text-anchor: (\w+)")
PLACE = re.compile(r'(?:translate\(|rotate\(\S+ |x=")(-?[\d.]+)(?:[ ,]+|" y=")(-?[\d.]+)')
UPWARD = "rotate(-90"
LINES = re.compile(r'(?=<g id="[^"]*\btext_\d+")')  # the lines of one text begin here
MOVED = re.compile(r"(?<=\btransform=\")translate\((-?[\d.]+) ")
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


def translated(shown: str) -> str:
    """Return the HTML of a figure or a table with Russian labels; other HTML as it is."""
    if not OURS.match(shown):
        return shown

    def exchange(found: re.Match[str]) -> str:
        label = label_in(_label(found), "ru")
        return found["before"] + html.escape(label, found.re is ALTERNATIVE)

    texts = "".join(_aligned(part, TEXT.sub(exchange, part)) for part in LINES.split(shown))
    return _with_room(ALTERNATIVE.sub(exchange, texts))


def _label(found: re.Match[str]) -> str:
    return " ".join(html.unescape(found["label"]).split())


def _aligned(english: str, russian: str) -> str:
    """Move the lines of a text to where the English lines are aligned: their middle or their end.

    matplotlib writes the left end of each line of a text, however they are aligned.
    """
    lines = [
        (float(place[1]), _length(*line.group(1, 3)))
        for line in DRAWN.finditer(english)
        if (place := MOVED.search(line[2])) is not None
    ]
    if len(lines) < 2:
        return russian
    for share in (0.5, 1.0):  # the part of a line before its aligned point
        points = [left + share * length for left, length in lines]
        if max(points) - min(points) <= 1:
            break
    else:
        return russian

    def move(line: re.Match[str]) -> str:
        left = points[0] - share * _length(*line.group(1, 3))
        place = MOVED.sub(f"translate({left:.2f} ", line[2])
        return f'<text style="{line[1]}"{place}>{line[3]}</text>'

    return DRAWN.sub(move, russian)


def _length(style: str, text: str) -> float:
    """Return the length of a text of a drawing, in points."""
    return text_length(html.unescape(text), float(SIZE.findall(style)[0]))


def _with_room(shown: str) -> str:
    """Widen the frame of a figure to its texts, since Russian ones are longer."""
    found = FRAME.search(shown)
    if found is None:
        return shown
    left, top, width, height = map(float, found[2].split())
    right, bottom = left + width, top + height
    for style, place, text in DRAWN.findall(shown):
        x, y = map(float, PLACE.findall(place)[-1])
        length = _length(style, text)
        before = length * {"middle": 0.5, "end": 1.0}.get("".join(ANCHOR.findall(style)), 0.0)
        if UPWARD in place:
            top, bottom = min(top, y + before - length), max(bottom, y + before)
        else:
            left, right = min(left, x - before), max(right, x - before + length)
    frame = f"{left:g} {top:g} {right - left:g} {bottom - top:g}"
    sizes = f'width="{right - left:g}pt" height="{bottom - top:g}pt"'
    return shown.replace(found[0], SIZES.sub(sizes, found[0]).replace(found[2], frame), 1)


def untranslated_labels(shown: str) -> Iterator[str]:
    """Yield the labels of a figure or a table that have no translation."""
    if not OURS.match(shown):
        return
    texts = (found for found in TEXT.finditer(shown) if found["of"] != VALUE)
    for found in (*texts, *ALTERNATIVE.finditer(shown)):
        if russian_label(_label(found)) is None:
            yield _label(found)


def with_russian_quotations(words: str) -> str:
    """Return the Russian words of a cell, with the labels that they quote in italics translated."""

    def exchange(found: re.Match[str]) -> str:
        first, rest = found[1][:1], found[1][1:]
        russian = russian_label(found[1]) or russian_label(first.lower() + rest) or found[1]
        return f"*{russian[:1].upper() if first.isupper() else russian[:1]}{russian[1:]}*"

    return QUOTED.sub(exchange, words)
