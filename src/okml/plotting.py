"""One style for all figures: inline SVG that follows the reader's light or dark theme.

A notebook shows a figure as SVG with the color ``currentColor``, that of the surrounding text; the
site's build makes two files of it, for light and dark mode. A PNG is included for front ends
without HTML. Every figure has a text alternative, and scatter points can have tooltips.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import cycle
from typing import Any, Literal
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import BoxStyle
from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Bbox

from okml.errors import ParameterError
from okml.ledger import Bar, Estimate, Measurements, format_estimate, load_claims
from okml.profile import ProfileName

# Okabe & Ito (2008): eight colors that people with any color vision can tell apart. Black is
# left out, since it would vanish in dark mode.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A800")
INK = "#010203"  # stands for the text color until the SVG is written
SVG = "http://www.w3.org/2000/svg"
EMPTY = 'data-empty="true"'  # marks a figure that only says that it has nothing to draw
Box = tuple[float, float, str, str | None]  # a diagram's box: x, y, text, color of the frame
COORDINATES = {"d", "x", "y"}
# Offsets of a label from its point, in points.
SIDES = ((4, 3), (4, -3), (-4, 3), (-4, -3), (4, 12), (4, -12), (-4, 12), (-4, -12))
ROOM = 1.35  # width of a diagram's box, over that of its text
UNMEASURED = "This run measured none of it."
LONG_NUMBER = re.compile(r"(\.\d\d)\d+")  # more than two decimals

STYLE: Mapping[str, Any] = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.prop_cycle": mpl.cycler(color=PALETTE),  # type: ignore[attr-defined]
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.alpha": 0.2,
    "grid.color": INK,
    "legend.frameon": False,
    "path.simplify_threshold": 0.5,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


class Picture:
    """A finished figure with its text alternative; Jupyter and the book show it as SVG.

    The figure is made inside ``with style():``, and the alternative is at least a sentence on what
    it shows. ``hover`` has tooltips, one label for each point, by what ``scatter`` returned. Where
    a figure is ``empty``, it only says that there is nothing to draw, and a page prefers another
    scale.

    Raises:
        ParameterError: If the alternative is missing, or labels do not match the points.
    """

    def __init__(
        self,
        figure: Figure,
        alt: str,
        hover: Mapping[Artist, Sequence[str]] | None = None,
        *,
        empty: bool = False,
    ) -> None:
        if len(alt.split()) < 4:
            raise ParameterError(f"A figure needs a text alternative; got {alt!r}.")
        self.alt = alt
        tooltips = {}
        for number, (points, labels) in enumerate((hover or {}).items()):
            points.set_gid(f"points{number}")
            tooltips[f"points{number}"] = labels
        svg = _accessible(_render(figure, "svg").decode(), alt, tooltips)
        self.svg = svg.replace("<svg ", f"<svg {EMPTY} ", 1) if empty else svg
        figure.set_layout_engine("none")  # the PNG has the same layout, which takes long to find
        self._figure = figure
        plt.close(figure)

    @cached_property
    def png(self) -> bytes:
        """The picture on white, for front ends without HTML."""
        return _render(self._figure, "png")

    @property
    def html(self) -> str:
        """The drawing as a page shows it."""
        return f'<figure class="okml-figure">{self.svg}</figure>'

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        data = {"text/html": self.html, "image/png": self.png, "text/plain": f"Figure: {self.alt}"}
        return data, {"image/png": {"alt": self.alt}}


def text_length(text: str, size: float) -> float:
    """Return the length of a text, which is no formula, in a font of this size, both in points.

    A browser's own font may be a little wider.
    """
    font = FontProperties(size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def style() -> Any:
    """Return a context in which matplotlib draws in the book's style."""
    return mpl.rc_context(dict(STYLE))


def by_color(frame: pl.DataFrame, column: str) -> Iterator[tuple[str, Any, pl.DataFrame]]:
    """Yield a color, a value of a column and its rows, for each value in the order of appearance.

    Colors come again where there are more values.
    """
    values = frame[column].unique(maintain_order=True)
    for color, value in zip(cycle(PALETTE), values, strict=False):
        yield color, value, frame.filter(pl.col(column) == value)


def label_points(
    axes: Axes,
    x: Iterable[float],
    y: Iterable[float],
    labels: Iterable[str],
    size: float = 7,
    *,
    crowded: bool = False,
) -> None:
    """Write a label beside each point, on the first side where it covers no point and no label.

    The scales and limits of the axes must be final. ``size`` is that of the font in points. If
    ``crowded``, a label that would cover something on every side is left out; the first ones win.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    points = list(zip(x, y, strict=True))
    spots = axes.transData.transform(points)
    taken = [Bbox.from_bounds(left - 4, low - 4, 8, 8) for left, low in spots]
    for point, label in zip(points, labels, strict=True):
        text = axes.annotate(label, point, SIDES[0], textcoords="offset points", fontsize=size)
        for right, up in SIDES:
            text.set(position=(right, up), ha="left" if right > 0 else "right",
                     va="bottom" if up > 0 else "top")  # fmt: skip
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
        else:
            if crowded:
                text.remove()
                continue
        taken.append(box)


def dots(
    axes: Axes,
    rows: pl.DataFrame,
    value: str,
    name: str,
    color: str | Sequence[str] = PALETTE[0],
    ends: tuple[str, str] = ("low", "high"),
    *,
    above: bool = False,
) -> None:
    """Draw a dot with its interval for each row, the first on top.

    ``value``, ``name`` and ``ends`` are columns; a row without a value stays empty. The color is
    that of all rows, or of each. Panels that share y show the names once. Where these stand
    ``above`` the rows and not beside them, a figure of a phone's width, 4.4 inches, has room for
    both.
    """
    places = range(rows.height)
    values, low, high = (rows[column].to_numpy() for column in (value, *ends))
    axes.hlines(places, low, high, colors=color, lw=2.5, alpha=0.5)
    axes.scatter(values, places, s=36, c=color, linewidths=0, zorder=2)
    axes.set_ylim(rows.height - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    if above:
        names_above(axes, rows[name].to_list())
    else:
        axes.set_yticks(places, rows[name].to_list())


def names_above(axes: Axes, names: Sequence[str]) -> None:
    """Write the name of each row above it, the first on top, which leaves the width to the rows.

    The row of a name is at its number in ``names``.
    """
    axes.set(yticks=[], ylim=(len(names) - 0.6, -0.9))
    axes.locator_params(axis="x", nbins=6)  # more numbers would touch in a narrow figure
    axes.spines["left"].set_visible(False)
    for place, name in enumerate(names):
        axes.text(0, place - 0.2, name, transform=axes.get_yaxis_transform(), va="bottom")


def let_names_run_on(axes: Axes) -> None:
    """Let the names above the rows of a left panel run on over the panel to its right."""
    for name in axes.texts:
        name.set_in_layout(False)


def line_beside_rows(
    axes: Axes, rows: int, x: float, dash: Literal["solid", "dotted"] = "solid", first: int = 0
) -> None:
    """Draw a vertical line beside each of some rows, interrupted by the names above them."""
    lows, highs = ([first + place + end for place in range(rows)] for end in (-0.17, 0.3))
    axes.vlines([x] * rows, lows, highs, colors=INK, linestyles=dash, lw=0.8)


def claim_bars(chapter: str, profile: ProfileName) -> dict[str, float]:
    """Return the bars of a chapter's claims at a profile that are not 0, by metric."""
    found = {}
    for claim in load_claims(chapter):
        if claim.metric and (written := claim.bar(profile)):
            bar = Bar.parse(written)
            found[claim.metric] = bar.low if math.isfinite(bar.low) else bar.high
    return {metric: bar for metric, bar in found.items() if bar}


def estimates(
    panels: Mapping[str, Mapping[str, str]],
    *measured: Measurements,
    bars: Mapping[str, float] | None = None,
) -> Picture:
    """Draw measured numbers with their 95 % intervals, a panel for each quantity.

    It shows what decides claims: metrics, their controls, and the differences, in another color.
    What the steps did not measure is left out. A panel has the labels of its rows by what is
    measured, such as ``r2``, or ``r2-control`` for a paired difference; its own label, which is
    that of its axis, has the unit. ``bars`` has the bar that decides a row, by what is measured: a
    dotted line.
    """
    bars = bars or {}
    found: dict[str, Estimate] = {}
    for step in measured:
        found |= step.metrics
        for metric, differences in step.differences.items():
            found |= {f"{metric}-{control}": one for control, one in differences.items()}
    known = {axis: {name: of[name] for name in of if name in found} for axis, of in panels.items()}
    known = {axis: of for axis, of in known.items() if of}
    counts = [len(of) for of in known.values()] or [1]
    told = []
    with style():
        figure, grid = plt.subplots(
            len(counts), 1, squeeze=False, height_ratios=[0.5 + count for count in counts],
            figsize=(4.4, 0.75 * len(counts) + 0.4 * sum(counts)),
        )  # fmt: skip
        for (axis, of), axes in zip(known.items(), grid.flat, strict=False):
            rows = pl.DataFrame(
                [row_of(label, found[name]) for name, label in of.items()],
                schema=["name", "value", "low", "high"], orient="row",
            )  # fmt: skip
            dots(axes, rows, "value", "name", [PALETTE["-" in name] for name in of], above=True)
            line_beside_rows(axes, rows.height, 0)
            for place, name in enumerate(of):
                if name in bars:
                    line_beside_rows(axes, 1, bars[name], "dotted", first=place)
            axes.set_xlabel(axis)
            facts = (
                f"{of[name]} {format_estimate(found[name])}"
                + (f", bar {bars[name]:g}" if name in bars else "")
                for name in of
            )
            told.append(f"{axis}: {'; '.join(facts)}.")
        if not known:
            grid[0, 0].axis("off")
            grid[0, 0].text(0.5, 0.5, UNMEASURED, ha="center", va="center")
    return Picture(figure, " ".join(told) or UNMEASURED, empty=not known)


def with_control(metric: str, control: str, label: str, beside: str) -> dict[str, str]:
    """Return the labels of a metric, its control and their difference, for :func:`estimates`."""
    return {metric: label, control: beside, f"{metric}-{control}": "difference"}


def row_of(label: str, number: Estimate) -> tuple[str, float, float, float]:
    """Return a row for :func:`dots`: a label, a number, and the ends of its interval if it has one.

    Without an interval both ends are the number.
    """
    low, high = number.interval or (number.mean, number.mean)
    return label, number.mean, low, high


class _Roomy(BoxStyle.Round):
    """A round box in which a text of another language has room, which may be a third longer."""

    def __call__(
        self, x0: float, y0: float, width: float, height: float, mutation_size: float
    ) -> Path:
        more = width * (ROOM - 1)
        return super().__call__(x0 - more / 2, y0, width + more, height, mutation_size)


def diagram(
    boxes: Mapping[str, Box],
    arrows: Sequence[tuple[str, str]],
    alt: str,
    *,
    height: float,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
) -> Picture:
    """Draw boxes with text and arrows from one to another, over the width of a page.

    Boxes have names, which an arrow gives for its ends; the color None is the text's. The limits of
    x must contain all boxes, and the height is that of the figure in inches.
    """
    with style():
        figure, axes = plt.subplots(figsize=(10.5, height))
        axes.set(xlim=xlim, ylim=ylim)
        axes.axis("off")
        drawn = {}
        for name, (x, y, text, color) in boxes.items():
            frame = {
                "boxstyle": _Roomy(pad=0.45), "facecolor": "none", "edgecolor": color or INK,
                "linewidth": 2 if color else 1,
            }  # fmt: skip
            drawn[name] = axes.text(x, y, text, ha="center", va="center", fontsize=8.5, bbox=frame)
        for first, second in arrows:
            axes.annotate(
                "", drawn[second].get_position(), drawn[first].get_position(),
                arrowprops={
                    "arrowstyle": "->", "color": INK, "lw": 1, "alpha": 0.7,
                    "patchA": drawn[first].get_bbox_patch(),
                    "patchB": drawn[second].get_bbox_patch(),
                },
            )  # fmt: skip
    return Picture(figure, alt)


def _render(figure: Figure, format: str) -> bytes:
    """Render to PNG on white, or to SVG without a background, with reproducible bytes."""
    buffer = io.BytesIO()
    # Images that are put together before they are drawn would lose their own pixels.
    own = {"svg.hashsalt": "okml", "svg.fonttype": "none", "image.composite_image": False}
    with mpl.rc_context(own):
        # Without the date, equal figures have equal bytes.
        metadata = {"Date": None} if format == "svg" else {}
        face = "none" if format == "svg" else "white"
        figure.savefig(buffer, format=format, metadata=metadata, facecolor=face)
    return buffer.getvalue()


def _accessible(svg: str, alt: str, tooltips: Mapping[str, Sequence[str]]) -> str:
    """Prepare an SVG document for inclusion in a page."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(svg)
    root.set("role", "img")
    root.set("aria-label", alt)
    root.set("style", "max-width: 100%; height: auto; color: inherit")
    for gid, labels in tooltips.items():
        _add_tooltips(root, gid, labels)
    for element in root.findall(f"{{{SVG}}}metadata"):
        root.remove(element)
    seen: set[str | None] = set()
    for element in root.iter():
        name = element.get("id")
        if name is not None and name in seen:
            del element.attrib["id"]  # a repeated picture; references resolve to the first
        seen.add(name)
        for key in COORDINATES.intersection(element.keys()):
            element.set(key, LONG_NUMBER.sub(r"\1", element.attrib[key]))
    text = ElementTree.tostring(root, encoding="unicode").replace(INK, "currentColor")
    # Ids are unique within one SVG only; several of them share a page.
    scope = "f" + hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="', f'id="{scope}-', text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{scope}-", text)


def _add_tooltips(root: ElementTree.Element, gid: str, labels: Sequence[str]) -> None:
    group = root.find(f".//{{{SVG}}}g[@id='{gid}']")
    points = [] if group is None else group.findall(f".//{{{SVG}}}use")
    if len(points) != len(labels):
        raise ParameterError(
            f"The figure draws {len(points)} points but has {len(labels)} labels for them."
        )
    for point, label in zip(points, labels, strict=True):
        ElementTree.SubElement(point, f"{{{SVG}}}title").text = label
