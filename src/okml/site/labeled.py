"""Figures and tables in Russian: the labels in their HTML are exchanged, and their texts get room.

A figure is drawn and a table is rendered in English, by the run of a notebook or from a record. On
a Russian page the texts inside are replaced: an SVG holds them as text, so nothing is drawn again.
The text alternatives and the tooltips of figures are replaced, too; their sentences are composed of
labels and numbers.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from okml.plotting import text_length
from okml.site.labels import label_in, russian_label

# Texts of our figures and tables. A formula is no label: it holds elements.
TEXT = re.compile(
    r"(?P<before><(?P<of>text|title|th|td|caption|legend)\b[^>]*>|<label><input\b[^>]*>)"
    r"(?P<label>[^<]+)(?=</)"
)
ALTERNATIVE = re.compile(r'(?P<before>\s(?:aria-label|alt)=")(?P<label>[^"]+)')
VALUE = "td"  # a table's cell: its words are translated, a name not listed stays
OURS = re.compile(r'<figure class="okml-figure"|<table class="okml-table"|<div class="okml-steps\b')
# In a drawing by matplotlib: its frame, and each text with its style and its place.
FRAME = re.compile(r'<svg\b([^>]*?viewBox="([^"]*)"[^>]*)>')
SIZES = re.compile(r'width="[^"]*" height="[^"]*"')
DRAWN = re.compile(r'<text style="([^"]*)"([^>]*)>([^<]+)</text>')
SIZE, ANCHOR = re.compile(r"([\d.]+)px"), re.compile(r"text-anchor: (\w+)")
PLACE = re.compile(r'(?:translate\(|rotate\(\S+ |x=")(-?[\d.]+)(?:[ ,]+|" y=")(-?[\d.]+)')
UPWARD = "rotate(-90"
LINES = re.compile(r'(?=<g id="[^"]*\btext_\d+")')  # the lines of one text begin here
MOVED = re.compile(r"(?<=\btransform=\")translate\((-?[\d.]+) ")


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
