"""The Russian labels of figures and tables: one list, applied to what the cells of a notebook show.

A figure is drawn and a table is rendered in English, by the run of a notebook or from a record. On
a Russian page the texts inside are exchanged: an SVG holds them as text, so nothing is drawn again.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import cache

import yaml
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from okml.paths import repository_root

LISTED = "book/ru/labels.yml"
# Texts of our figures and tables. A formula is no label: it holds elements.
TEXT = re.compile(r"(<(text|th|td|caption)\b[^>]*>)([^<]+)(?=</\2>)")
VALUE = "td"  # of a table: a word is translated, a name that is not listed stays
OURS = re.compile(r'<figure class="okml-figure"|<table class="okml-table"')
NUMBER = r"(?:(?<!\w)-)?\d[\d,.]*(?<![,.])"
NUMBERS = re.compile(rf"(?<=profile )[a-z]+|(?<![\w@.]){NUMBER}(?:, {NUMBER})*")
BETWEEN = re.compile(r"(, |; |: | \+ | \| | / | → | \(|\)(?= |$))")
# In a drawing by matplotlib: its frame, and each text with its style and its place.
FRAME = re.compile(r'<svg\b([^>]*?viewBox="([^"]*)"[^>]*)>')
SIZES = re.compile(r'width="[^"]*" height="[^"]*"')
DRAWN = re.compile(r'<text style="([^"]*)"([^>]*)>([^<]+)</text>')
SIZE, ANCHOR = re.compile(r"([\d.]+)px"), re.compile(r"text-anchor: (\w+)")
PLACE = re.compile(r'(?:translate\(|rotate\(\S+ |x=")(-?[\d.]+)(?:[ ,]+|" y=")(-?[\d.]+)')
UPWARD = "rotate(-90"
QUOTED = re.compile(r"(?<![*\w])\*([A-Za-z][^*\n]*)\*(?![*\w])")


@cache
def _listed() -> tuple[dict[str, str], re.Pattern[str]]:
    """Return the translations, and the labels that are the same in both languages."""
    found = yaml.safe_load((repository_root() / LISTED).read_text("utf-8"))
    labels = {NUMBERS.sub("#", english): russian for english, russian in found["labels"].items()}
    return labels, re.compile("|".join(found["same"]))


def in_russian(label: str) -> str | None:
    """Return a label in Russian: as listed, or put together of its parts; None if it is missing."""
    labels, same = _listed()
    numbers = iter(NUMBERS.findall(label))
    if (found := labels.get(NUMBERS.sub("#", label))) is not None:
        return re.sub("#", lambda _: next(numbers), found)
    if same.fullmatch(label):
        return label
    if len(parts := BETWEEN.split(label)) == 1:
        return None
    known = [part if n % 2 or not part else in_russian(part) for n, part in enumerate(parts)]
    return None if None in known else "".join(filter(None, known))


def translated(shown: str) -> str:
    """Return the HTML of a figure or a table with Russian labels; other HTML as it is."""

    def exchange(found: re.Match[str]) -> str:
        label = " ".join(html.unescape(found[3]).split())
        return found[1] + html.escape(in_russian(label) or label, quote=False)

    return _with_room(TEXT.sub(exchange, shown)) if OURS.match(shown) else shown


def _with_room(shown: str) -> str:
    """Widen the frame of a figure to its texts, since Russian ones are longer."""
    found = FRAME.search(shown)
    if found is None:
        return shown
    left, top, width, height = map(float, found[2].split())
    right, bottom = left + width, top + height
    for style, place, text in DRAWN.findall(shown):
        x, y = map(float, PLACE.findall(place)[-1])
        size = float(SIZE.findall(style)[0])
        length, _, _ = text_to_path.get_text_width_height_descent(
            html.unescape(text), FontProperties(size=size), ismath=False
        )
        before = length * {"middle": 0.5, "end": 1.0}.get("".join(ANCHOR.findall(style)), 0.0)
        if UPWARD in place:
            top, bottom = min(top, y + before - length), max(bottom, y + before)
        else:
            left, right = min(left, x - before), max(right, x - before + length)
    frame = f"{left:g} {top:g} {right - left:g} {bottom - top:g}"
    sizes = f'width="{right - left:g}pt" height="{bottom - top:g}pt"'
    return shown.replace(found[0], SIZES.sub(sizes, found[0]).replace(found[2], frame), 1)


def missing(shown: str) -> Iterator[str]:
    """Yield the labels of a figure or a table that have no translation."""
    for _, element, text in TEXT.findall(shown) if OURS.match(shown) else ():
        label = " ".join(html.unescape(text).split())
        if element != VALUE and in_russian(label) is None:
            yield label


def quoted(words: str) -> str:
    """Return the words of a cell with the labels that they quote in italics in Russian too."""

    def exchange(found: re.Match[str]) -> str:
        first, rest = found[1][:1], found[1][1:]
        russian = in_russian(found[1]) or in_russian(first.lower() + rest) or found[1]
        return f"*{russian[:1].upper() if first.isupper() else russian[:1]}{russian[1:]}*"

    return QUOTED.sub(exchange, words)
