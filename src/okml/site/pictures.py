"""The picture of a chapter's card: a figure of its executed notebook, for light and dark pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from nbformat import NotebookNode

COVER = "cover"  # tag of the cell whose figure stands for the chapter; without one, the first
SVG = "http://www.w3.org/2000/svg"
INK = {"light": "#1f2328", "dark": "#e6e6e6"}  # a picture file knows no text color around it


def cover(notebook: NotebookNode) -> dict[str, str] | None:
    """Return the chapter's figure as two SVG documents, ``light`` and ``dark``; None without one.

    A figure inside a page takes the color of the text; a file shown by an ``img`` element cannot,
    so its color is written down once for each theme.
    """
    figures = list(_figures(notebook))
    if not figures:
        return None
    tagged = [svg for svg, tags in figures if COVER in tags]
    svg = tagged[0] if tagged else figures[0][0]
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(svg)
    found = {}
    for theme, ink in INK.items():
        root.set("style", f"color: {ink}")
        found[theme] = ElementTree.tostring(root, encoding="unicode")
    return found


def _figures(notebook: NotebookNode) -> Iterator[tuple[str, list[str]]]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            html = "".join(output.get("data", {}).get("text/html", ""))
            svg = re.search(r"<svg\b.*?</svg>", html, re.DOTALL)
            if svg and 'aria-label="' in svg[0]:
                yield svg[0], cell.metadata.get("tags", [])
