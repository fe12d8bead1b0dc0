"""Pictures of links: what other sites show beside the address of a page.

Most sites show PNG alone, and the figures of pages are SVG, so a page's picture is a card: its
title, what was found, and the verdicts in their colors.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from okml.ledger import Outcome

WIDTH, HEIGHT = 1200, 630  # px, as Open Graph asks for
MARGIN = 72
BODY = WIDTH - 2 * MARGIN
COLORS = 32  # letters have soft edges; more colors make the file larger
PAPER, INK, MUTED, BRAND = "#ffffff", "#222832", "#57606a", "#d9661f"
# These are the light theme's colors in okml.css.
_COLORS = {
    Outcome.REPRODUCED: "#116329",
    Outcome.DIRECTION_HOLDS: "#0b5394",
    Outcome.IN_SIMULATOR: "#6f3a8f",
    Outcome.NOT_REPRODUCED: "#a32a12",
}
TITLE_SIZES = (60, 54, 46, 40, 34)  # px, the largest that fits is taken
TITLE_HEIGHT = 215  # px, which leaves room for the lines of what was found
FOUND_LINES = 3
SPACING = 1.3  # distance of lines, in sizes of letters
FOUND_SIZE, SMALL = 34, 26  # px
SQUARE, GAP = 24, 12  # px


@dataclass(frozen=True)
class Card:
    """The texts of a page's picture."""

    title: str  # the title of the page
    chapter: str  # the name of the chapter
    found: str  # a sentence or a number
    verdicts: tuple[tuple[Outcome, str], ...]  # outcomes of the page's claims, and their words


def color(outcome: Outcome) -> str:
    """Return the color of an outcome on a light page, as ``#rrggbb``."""
    return _COLORS.get(outcome, MUTED)


def draw(card: Card) -> bytes:
    """Return a card as a PNG file of 1200 by 630 pixels."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 16, HEIGHT), fill=BRAND)
    pen.text((MARGIN, 52), "okml", fill=BRAND, font=_font(SMALL + 8, bold=True))
    pen.text((MARGIN + 124, 58), card.chapter, fill=MUTED, font=_font(SMALL))
    top = _title(pen, card.title, 124)
    _lines(pen, card.found, _font(FOUND_SIZE), FOUND_LINES, top + 20)
    _verdicts(pen, card.verdicts)
    file = io.BytesIO()
    image.quantize(COLORS, method=Image.Quantize.FASTOCTREE).save(file, "PNG", optimize=True)
    return file.getvalue()


def _title(pen: ImageDraw.ImageDraw, title: str, top: int) -> int:
    """Draw the title in the largest letters that fit and return where it ends."""
    for size in TITLE_SIZES:
        font, limit = _font(size, bold=True), int(TITLE_HEIGHT / (SPACING * size))
        if len(list(_wrapped(title, font))) <= limit:
            break
    return _lines(pen, title, font, limit, top)


def _lines(
    pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, limit: int, top: int
) -> int:
    """Draw a text in at most so many lines and return where it ends."""
    lines = list(_wrapped(text, font))
    if len(lines) > limit:
        lines[limit - 1] += " …"
    for line in lines[:limit]:
        pen.text((MARGIN, top), line, fill=INK, font=font)
        top += round(font.size * SPACING)
    return top


def _wrapped(text: str, font: ImageFont.FreeTypeFont) -> Iterator[str]:
    line = ""
    for each in text.split():
        longer = f"{line} {each}".strip()
        if line and font.getlength(longer) > BODY:
            yield line
            longer = each
        line = longer
    yield line


def _verdicts(pen: ImageDraw.ImageDraw, verdicts: tuple[tuple[Outcome, str], ...]) -> None:
    """Draw a square and words for each outcome, in lines that end at the foot of the picture."""
    font = _font(SMALL)
    lines: list[list[tuple[int, Outcome, str]]] = [[]]  # each word's left end in px, outcome, words
    left = MARGIN
    for outcome, said in verdicts:
        width = SQUARE + GAP + round(font.getlength(said))
        if lines[-1] and left + width > WIDTH - MARGIN:
            lines.append([])
            left = MARGIN
        lines[-1].append((left, outcome, said))
        left += width + 4 * GAP
    for above, line in enumerate(reversed(lines)):
        top = HEIGHT - 84 - above * (SQUARE + 2 * GAP)
        for left, outcome, said in line:
            box = (left, top, left + SQUARE, top + SQUARE)
            pen.rounded_rectangle(box, radius=5, fill=color(outcome))
            place = (left + SQUARE + GAP, top + SQUARE / 2)
            pen.text(place, said, fill=color(outcome), font=font, anchor="lm")


@lru_cache(maxsize=16)
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font that comes with Matplotlib and has Latin, Cyrillic and signs of maths."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)
