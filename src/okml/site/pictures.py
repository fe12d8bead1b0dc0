"""Figures of a page: image files beside it, one for light and one for dark mode.

A notebook holds each figure as SVG in the color of the surrounding text. Inline drawings were most
of a page's bytes, so the page shows them as lazily loaded images. An image does not inherit the
text color, so each figure is written twice, and the theme's own classes show one of the two: this
follows the book's button, works from a local file and needs no script. The alternatives fail:
browsers refuse ``<use href="file.svg#id">`` and scripts that fetch on local files; an ``<object>``
follows the system's theme, not the button, and is a separate document for each figure; and Safari
does not support ``prefers-color-scheme`` inside an image (WebKit bug 199134).

An image has no tooltips either, so transparent circles over it carry them.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from okml.paths import atomic_write
from okml.site import view
from okml.site.data_names import TABLE, named
from okml.site.language import page_language
from okml.site.markup import element, scrolling, tag
from okml.site.pages import LETTERS, page_in
from okml.site.repository import Place

KEY = "okml"  # key of the metadata of a cell that shows several scales
BUILD = "smoke"  # the scale that each build runs
FOLDED = "okml-scales"  # class of the box with the other scales of a cell
COVER = "cover"  # tag of the cell with the chapter's cover figure; by default the first figure
FIGURE = '<figure class="okml-figure"><svg'  # start of the HTML of a Picture
CAPTION = "<caption>"
# A slider over pictures: its buttons, and an inline image for each of their states.
SLIDER = re.compile(
    r'<div class="(?P<classes>okml-steps [^"]*)">(?P<buttons>.*?)(?P<images><img .*)</div>',
    re.DOTALL,
)
INLINE_PNG = re.compile(
    r'<img class="(?P<classes>[^"]*)" alt="(?P<alt>[^"]*)"'
    r' src="data:image/png;base64,(?P<png>[^"]+)">'
)
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
# The theme's text colors. The palette's blue is too deep for thin marks on a dark page.
COLORS = {
    "light": {"currentColor": "#222832"},
    "dark": {"currentColor": "#ced6dd", "#0072b2": "#3391da"},
}


def move_figures_out(app: Sphinx, doctree: nodes.document) -> None:
    """Replace each inline drawing of a page by images.

    Tooltips lie over what the page shows at first; those of the folded scales would double it.
    """
    folded = {
        id(raw)
        for box in doctree.findall(nodes.Element)
        if FOLDED in box.get("classes", ())
        for raw in box.findall(nodes.raw)
    }
    for raw in list(doctree.findall(nodes.raw)):
        text = raw.astext() if raw["format"] == "html" else ""
        if text.startswith(FIGURE):
            drawn = picture(app.env, _drawing(text), tooltips=id(raw) not in folded)
            shown = tag("figure", drawn, classes=["okml-figure"])
        elif slider := SLIDER.fullmatch(text.strip()):
            shown = _with_files(app.env, slider)
        else:
            continue
        raw.replace_self(tag("div", shown, classes=raw["classes"]))


def _with_files(env: BuildEnvironment, slider: re.Match[str]) -> element:
    """Return a slider whose images are files: inline they would be most of the page."""
    images = []
    for found in INLINE_PNG.finditer(slider["images"]):
        uri = _kept(env, base64.b64decode(found["png"]), ".png")
        alt, classes = unescape(found["alt"]), found["classes"].split()
        images.append(nodes.image(uri=uri, alt=alt, classes=classes))
    buttons = nodes.raw("", slider["buttons"], format="html")
    return tag("div", buttons, *images, classes=slider["classes"].split())


def drop_old_files(app: Sphinx) -> None:
    """Remove the files of figures that no page shows, since Sphinx would publish them."""
    shown = {Path(path).name for path in app.env.images}
    for path in _folder(app.env).glob("*"):
        if path.name not in shown:
            path.unlink()
            Path(app.outdir, app.builder.imagedir, path.name).unlink(missing_ok=True)


def cover(notebook: Path) -> str | None:
    """Return the SVG of a notebook's cover: the tagged cell's figure, else the first; or None."""
    cells = view.notebook(notebook)["cells"]
    tagged = [cell for cell in cells if COVER in cell.get("metadata", {}).get("tags", [])]
    shown = (html for cell in tagged + cells for _, html in _shown(cell))
    return next((html for html in shown if not html.startswith(TABLE)), None)


@dataclass(frozen=True)
class ClaimFigure:
    """The first figure or table below the heading or the paragraph that marks a claim's test."""

    html: str  # the SVG of the figure, or the table
    scale: str  # the profile of the run that it shows
    drawn: list[Place]  # the code that draws it

    @property
    def is_table(self) -> bool:
        """Whether a table is shown."""
        return self.html.startswith(TABLE)


def figure_of_claim(env: BuildEnvironment, claim: str) -> ClaimFigure | None:
    """Return the first figure or table below the mark of a claim, in the section of its notebook.

    Where the cell shows several scales, it is that of the scale that decides the claim.

    Args:
        env: The build, which is reading the page that shows the figure.
        claim: The id of the claim.

    Returns:
        The figure or the table; None if no notebook shows one below a mark of the claim.

    Raises:
        ParameterError: If no chapter lists the claim.
    """
    decides = view.find(claim).best.profile
    for english in view.notebook_docnames(view.chapter_of(claim)):
        page = page_in(env, english, page_language(env.docname))
        cells = view.notebook(Path(env.srcdir) / f"{page}.ipynb")["cells"]
        for cell in _section(cells, f"{{tests}}`{claim}`"):
            drawn = cell.get("metadata", {}).get(KEY, {}).get("drawn", [])
            shown = [ClaimFigure(html, scale, drawn) for scale, html in _shown(cell)]
            same = [each for each in shown if each.is_table == shown[0].is_table]
            if same:
                return next((each for each in same if each.scale == decides), same[0])
    return None


def claim_figure(env: BuildEnvironment, found: ClaimFigure) -> element:
    """Return a claim's figure, which a page opens with, or its table."""
    if found.is_table:
        label = unescape(found.html.split(CAPTION, 1)[1]).partition("</")[0]
        return scrolling(label, nodes.raw("", found.html, format="html"))
    return tag("figure", picture(env, found.html, lazy=False), classes=["okml-figure"])


def _section(cells: list[dict[str, Any]], mark: str) -> Iterator[dict[str, Any]]:
    """Yield the cells from a mark to the next heading of a cell."""
    marked = False
    for cell in cells:
        text = "".join(cell.get("source", "")) if cell["cell_type"] == "markdown" else ""
        if marked and text.startswith("#"):
            return
        marked = marked or mark in text
        if marked:
            yield cell


def _shown(cell: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the scale and the SVG or the table of what a cell shows, folded ones last."""
    outputs = cell.get("outputs", [])
    shows = cell.get("metadata", {}).get(KEY, {}).get("shows", [[BUILD, ""]] * len(outputs))
    for (scale, _), output in zip(shows, outputs, strict=True):
        html = "".join(output.get("data", {}).get("text/html", ""))
        if html.startswith(FIGURE):
            yield scale or BUILD, _drawing(html)
        elif html.startswith(TABLE) and "<td" in html:  # it has rows
            yield scale or BUILD, html


def _drawing(html: str) -> str:
    return html[html.index("<svg") : html.rindex("</svg>") + len("</svg>")]


def picture(
    env: BuildEnvironment, svg: str, *, tooltips: bool = True, lazy: bool = True
) -> element:
    """Return a box with the aspect ratio of the figure, its two images and its tooltips.

    The files lie beside the doctrees, named by content hash; Sphinx copies those that pages show.

    Args:
        env: The build, which is reading the page that shows the figure.
        svg: The drawing, with the text alternative as its ``aria-label``.
        tooltips: Whether the points keep their tooltips.
        lazy: Whether the browser loads the images only when they come into view. A figure that a
            page opens with should not be lazy: it would come after all scripts.
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(named(svg))
    alt, view, width = root.attrib["aria-label"], root.attrib["viewBox"], root.attrib["width"]
    circles = _take_tooltips(root)
    root.attrib.pop("style", None)  # applies to inline drawings only
    drawing = ElementTree.tostring(root, encoding="unicode")
    layers: list[nodes.Node] = []
    for theme, colors in COLORS.items():
        colored = drawing
        for color, seen in colors.items():
            colored = colored.replace(color, seen)
        uri = _kept(env, colored.encode(), ".svg")
        image = nodes.image(uri=uri, alt=alt, classes=[f"only-{theme}"])
        if lazy:
            image["loading"] = "lazy"
        layers.append(image)
    if tooltips and circles:
        over = f'<svg viewBox="{view}" aria-hidden="true">{circles}</svg>'
        layers.append(nodes.raw("", over, format="html"))
    style = f"--okml-width: {width}; aspect-ratio: {' / '.join(view.split()[2:])}"
    # The language of the alternative and the tooltips, which a chapter may have in English alone.
    lang = "ru" if LETTERS["ru"].search(alt) else "en"
    return tag("div", *layers, classes=["okml-picture"], attrs={"style": style, "lang": lang})


def _kept(env: BuildEnvironment, image: bytes, ending: str) -> str:
    """Keep an image in a file and return its path from the page."""
    path = _folder(env) / f"{hashlib.sha256(image).hexdigest()[:16]}{ending}"
    if not path.exists():
        # A thousand pictures would each wait for the disk.
        with atomic_write(path, "wb", lasting=False) as handle:
            handle.write(image)
    return os.path.relpath(path, Path(env.srcdir, env.docname).parent)


def _folder(env: BuildEnvironment) -> Path:
    return Path(env.doctreedir) / "pictures"


def _take_tooltips(root: ElementTree.Element) -> str:
    """Remove the tooltips of a figure's points and return them as circles over the points."""
    shapes = {f"#{path.get('id')}": path.get("d", "") for path in root.iter(f"{{{SVG}}}path")}
    circles = []
    for point in root.iter(f"{{{SVG}}}use"):
        title = point.find(f"{{{SVG}}}title")
        if title is None:
            continue
        point.remove(title)
        corners = re.findall(r"-?\d+\.?\d*", shapes[point.attrib[f"{{{XLINK}}}href"]])
        radius = max(abs(float(corner)) for corner in corners)
        circle = ElementTree.Element(
            "circle", cx=point.attrib["x"], cy=point.attrib["y"], r=f"{radius:g}"
        )
        circle.append(title)
        title.tag = "title"
        circles.append(ElementTree.tostring(circle, encoding="unicode"))
    return "".join(circles)
