"""Metadata for other sites: Open Graph tags, and a sitemap where the address is known."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape as xml

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.application import Sphinx

from okml.paths import atomic_write
from okml.site.language import page_language

PICTURE = "_static/screenshot.png"
DESCRIPTION_LENGTH = 200  # characters; longer ones are cut by those who show them


def add_sharing_tags(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Add the title, the first paragraph and, with a base address, the address and a picture."""
    if doctree is None:
        return
    tags = {
        "og:type": "article",
        "og:site_name": app.config.html_title or app.config.project,
        "og:title": _plain(context.get("title", "")),
        "og:locale": {"en": "en_US", "ru": "ru_RU"}[page_language(pagename)],
    }
    if description := _description(doctree):
        tags["og:description"] = description
    if base := _base(app):
        tags |= {"og:url": f"{base}/{pagename}.html", "og:image": f"{base}/{PICTURE}"}
    context["metatags"] = context.get("metatags", "") + "".join(
        f'\n<meta property="{name}" content="{escape(content)}">' for name, content in tags.items()
    )
    if description:
        context["metatags"] += f'\n<meta name="description" content="{escape(description)}">'


def _base(app: Sphinx) -> str:
    return str(app.config.html_baseurl or "").rstrip("/")


def _plain(html: str) -> str:
    """Return the text of a page's title, which Sphinx gives as HTML."""
    return BeautifulSoup(html, "html.parser").get_text()


def _description(doctree: nodes.document) -> str:
    """Return the first paragraph of some length, cut at a word."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) < DESCRIPTION_LENGTH / 4:  # links to the other language, names of authors
            continue
        if len(text) <= DESCRIPTION_LENGTH:
            return text
        return text[:DESCRIPTION_LENGTH].rpartition(" ")[0] + " …"
    return ""


def write_sitemap(app: Sphinx, failure: Exception | None) -> None:
    """Write ``sitemap.xml`` with all pages, if the site's address is known."""
    base = _base(app)
    if failure is not None or app.builder.format != "html" or not base:
        return
    rows = "".join(
        f"<url><loc>{xml(f'{base}/{page}.html')}</loc></url>\n"
        for page in sorted(app.env.found_docs)
    )
    with atomic_write(Path(app.outdir) / "sitemap.xml") as handle:
        handle.write(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{rows}</urlset>\n'
        )
