"""Checks of the built pages: size, broken outputs, accessibility and links."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

PAGE_LIMIT = 800_000  # bytes of HTML that a phone loads without a wait
TRACEBACK = "Traceback (most recent call last)"
LINKS = {"a": "href", "link": "href", "script": "src", "img": "src", "source": "src"}
BROKEN = {
    ".output.traceback": "a cell ended in an error",
    ".output.stderr": "a cell wrote to standard error",
    ".system-message": "docutils left an error message",
    ".problematic": "docutils left text it could not read",
    ".math .merror": "a formula cannot be read",
}


def problems(site: Path) -> list[str]:
    """Return the defects of all pages of a site, each with its page."""
    paths = sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)
    if not paths:
        return [f"{site} holds no pages"]
    pages = {path: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in paths}
    anchors = {path: _anchors(page) for path, page in pages.items()}
    return [
        f"{path.relative_to(site)}: {problem}"
        for path, page in pages.items()
        for problem in (
            *_too_large(path),
            *_broken_outputs(page),
            *_inaccessible(page),
            *_dead_links(page, path, site, anchors),
        )
    ]


def _anchors(page: BeautifulSoup) -> set[str]:
    return {str(found["id"]) for found in page.find_all(id=True)}


def _too_large(path: Path) -> Iterator[str]:
    size = path.stat().st_size
    if size > PAGE_LIMIT:
        yield f"{size / 1000:.0f} kB of HTML, more than {PAGE_LIMIT / 1000:.0f} kB"


def _broken_outputs(page: BeautifulSoup) -> Iterator[str]:
    for selector, meaning in BROKEN.items():
        for found in page.select(selector):
            yield f"{meaning}: {_start(found)}"
    for output in page.select(".cell_output"):
        if TRACEBACK in output.get_text() and not output.select(".output.traceback"):
            yield f"a traceback in an output: {_start(output)}"


def _start(found: Tag) -> str:
    return " ".join(found.get_text().split())[:80]


def _inaccessible(page: BeautifulSoup) -> Iterator[str]:
    html = page.find("html")
    if not isinstance(html, Tag) or not str(html.get("lang", "")).strip():
        yield "no lang attribute on <html>"
    title = page.find("title")
    if title is None or not title.get_text(strip=True):
        yield "no title"
    for image in page.find_all("img"):
        if image.get("alt") is None or (not str(image["alt"]).strip() and not _decorative(image)):
            yield f"an image without a text alternative: {image.get('src', '')}"
    for drawing in page.select("article svg"):
        named = drawing.get("aria-label") or drawing.find("title", recursive=False)
        hidden = any(p.get("aria-hidden") == "true" for p in (drawing, *drawing.parents))
        if not named and not hidden:
            yield "an inline SVG without a text alternative"
    seen: set[str] = set()
    for found in page.select("article [id]"):
        anchor = str(found["id"])
        if anchor in seen:
            yield f"the id {anchor!r} occurs twice"
        seen.add(anchor)


def _decorative(image: Tag) -> bool:
    return image.get("role") in ("none", "presentation") or image.get("aria-hidden") == "true"


def _dead_links(
    page: BeautifulSoup, path: Path, site: Path, anchors: dict[Path, set[str]]
) -> Iterator[str]:
    """Yield the broken links within the site; links to other sites are not checked."""
    for found in page.find_all(list(LINKS)):
        url = str(found.get(LINKS[found.name]) or "")
        parts = urlsplit(url)
        if not url or parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
        if target.is_dir():
            target = target / "index.html"
        if not target.is_relative_to(site.resolve()) or not target.exists():
            yield f"a dead link: {url}"
            continue
        anchor = unquote(parts.fragment)
        known = anchors.get(site / target.relative_to(site.resolve()))
        if anchor and known is not None and anchor not in known:
            yield f"a dead anchor: {url}"
