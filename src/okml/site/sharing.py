"""What a site has for others: Open Graph tags; with an address also a sitemap and a 404 page."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.application import Sphinx

from okml.chapters import CHAPTERS
from okml.errors import OkmlError
from okml.ledger import LABELS, ClaimRow
from okml.ledger.export import CLAIM_PAGES
from okml.ledger.findings import told_findings, written
from okml.ledger.quoting import plain
from okml.paths import atomic_write
from okml.site import view
from okml.site.badges import counts
from okml.site.estimates import estimate_in
from okml.site.labels import label_in
from okml.site.language import Lang, in_language, numbers_in, page_language, said
from okml.site.pages import HOME, site_address
from okml.site.share_pictures import HEIGHT, WIDTH, Card, draw

PICTURE = "_static/screenshot.png"  # pages that are about no single chapter share it
PICTURES = "_images/shared"
# Hosts of static pages answer with it at any address, so its links are absolute.
LOST = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>okml: no such page</title><link rel="icon" href="data:,">
<style>
  :root {{ color-scheme: light dark; font: 1.1rem/1.6 system-ui, sans-serif; }}
  main {{ max-width: 34rem; margin: 15vh auto; padding: 0 1.5rem; }}
</style></head>
<body><main><h1>There is no such page</h1>
<p>It may have moved: see the <a href="{site}/{home}.html">home page</a>, or
<a href="{site}/search.html">search</a>.</p>
<p lang="ru">Такой страницы нет, возможно, она теперь в другом месте:
<a href="{site}/{russian}.html">начало книги</a>, <a href="{site}/search.html">поиск</a>.</p>
</main></body>
</html>
"""
DESCRIPTION_LENGTH = 200  # characters; longer ones are cut by those who show them


def add_sharing_tags(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Add the title, the first paragraph and, with a base address, the address and a picture."""
    if doctree is None:
        return
    title = BeautifulSoup(context.get("title", ""), "html.parser").get_text()  # Sphinx has HTML
    tags = {
        "og:type": "article",
        "og:site_name": app.config.html_title or app.config.project,
        "og:title": title,
        "og:locale": {"en": "en_US", "ru": "ru_RU"}[page_language(pagename)],
    }
    card = _card(pagename, title)
    if description := _description(doctree) or (card.found if card else ""):
        tags["og:description"] = description
    if base := site_address(app):
        tags |= {"og:url": f"{base}/{pagename}.html", "og:image": f"{base}/{PICTURE}"}
        if card is not None:
            place = f"{PICTURES}/{pagename}.png"
            with atomic_write(Path(app.outdir) / place, "wb") as handle:
                handle.write(draw(card))
            tags["og:image"] = f"{base}/{place}"
            tags |= {"og:image:width": str(WIDTH), "og:image:height": str(HEIGHT)}
            tags["og:image:alt"] = f"{title} {card.found}".strip()
    context["metatags"] = context.get("metatags", "") + "".join(
        f'\n<meta property="{name}" content="{escape(content)}">' for name, content in tags.items()
    )
    if description:
        context["metatags"] += f'\n<meta name="description" content="{escape(description)}">'
    if base:
        context["metatags"] += '\n<meta name="twitter:card" content="summary_large_image">'


def _card(pagename: str, title: str) -> Card | None:
    """Return what the picture of a claim's page, a digest or a notebook says; None for others."""
    lang = page_language(pagename)
    english = in_language(pagename, "en")
    try:
        if english.startswith(CLAIM_PAGES):
            claim = english.removeprefix(CLAIM_PAGES).replace("/", ".")
            return _of_claim(view.find(claim), title, lang)
        digests = {view.digest_docname(name): name for name in CHAPTERS}
        chapter = view.chapter_of_notebook(pagename) or digests.get(english)
        return _of_chapter(chapter, title, lang) if chapter else None
    except OkmlError:  # a record that cannot be read, of which the page itself warns
        return None


def _of_claim(row: ClaimRow, title: str, lang: Lang) -> Card:
    best = row.best
    label = said(LABELS[best.outcome], lang)
    if best.measured is None:
        found = plain(said(best.reason, lang)) if best.reason else ""
        return Card(title, row.claim.chapter, found, ((best.outcome, label),))
    number, unit = estimate_in(best.measured, lang), label_in(best.measured.unit, lang)
    found = f"{row.claim.metric} = {number} {unit}".strip()
    return Card(title, row.claim.chapter, found, ((best.outcome, f"{label} · {best.profile}"),))


def _of_chapter(chapter: str, title: str, lang: Lang) -> Card:
    """Return a card with the chapter's first finding, and the number of its claims by outcome."""
    rows = view.rows(chapter)
    best = {row.claim.id: row.best for row in rows}
    findings = (written(said(text, lang), verdict) for _, text, verdict in told_findings(best))
    verdicts = tuple(
        (outcome, f"{count} {said(LABELS[outcome], lang)}")
        for outcome, count in counts(best.values()).items()
        if count
    )
    return Card(title, chapter, numbers_in(next(findings, ""), lang), verdicts)


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


def write_files_for_hosts(app: Sphinx) -> None:
    """Write ``sitemap.xml`` with all pages and ``404.html``, if the site's address is known."""
    base = site_address(app)
    if not base:
        return
    rows = "".join(
        f"<url><loc>{escape(f'{base}/{page}.html')}</loc></url>\n"
        for page in sorted(app.env.found_docs)
    )
    files = {
        "sitemap.xml": (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{rows}</urlset>\n'
        ),
        "404.html": LOST.format(site=escape(base), home=HOME, russian=in_language(HOME, "ru")),
    }
    for name, content in files.items():
        with atomic_write(Path(app.outdir) / name) as handle:
            handle.write(content)
