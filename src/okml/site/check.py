"""Checks of the built pages: size, broken outputs, accessibility and links."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lxml import html

PAGE_LIMIT = 800_000  # bytes of HTML that a phone loads without a wait
WARNED_OF = 780_000  # bytes from which the build says that a page comes near the limit
TRACEBACK = "Traceback (most recent call last)"
LINKS = {"a": "href", "link": "href", "script": "src", "img": "src", "source": "src"}
PARSER = html.HTMLParser(encoding="utf-8", huge_tree=True)


def _having(*classes: str) -> str:
    """Return the XPath of all elements with some classes."""
    has = '[contains(concat(" ", normalize-space(@class), " "), " {} ")]'
    return "//*" + "".join(map(has.format, classes))


# The elements that a defect leaves in a page: by a class that only they have, their XPath and what
# they mean.
BROKEN = {
    "traceback": (_having("output", "traceback"), "a cell ended in an error"),
    "stderr": (_having("output", "stderr"), "a cell wrote to standard error"),
    "system-message": (_having("system-message"), "docutils left an error message"),
    "problematic": (_having("problematic"), "docutils left text it could not read"),
    "merror": (_having("math") + _having("merror"), "a formula cannot be read"),
}


def problems(site: Path) -> list[str]:
    """Return the defects of all pages in the folder of a site, each with its page."""
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    names = sorted(filter(_is_page, files))
    if not names:
        return [f"{site} holds no pages"]
    sources = {name: (site / name).read_bytes() for name in names}
    pages = {name: html.document_fromstring(text, PARSER) for name, text in sources.items()}
    anchors = {name: set(page.xpath("//@id")) for name, page in pages.items()}
    return [
        f"{name}: {problem}"
        for name, page in pages.items()
        for problem in (
            *_too_large(len(sources[name])),
            *_broken_outputs(page, sources[name]),
            *_inaccessible(page),
            *_dead_links(page, name, files, anchors),
        )
    ]


def large_pages(site: Path) -> list[str]:
    """Return the pages of a site that come near the limit or exceed it, each with its size."""
    sizes = {
        path.relative_to(site).as_posix(): path.stat().st_size for path in site.rglob("*.html")
    }
    return [
        f"{name}: {size / 1000:.0f} kB of HTML; at {PAGE_LIMIT / 1000:.0f} kB the build stops"
        for name, size in sorted(sizes.items())
        if _is_page(name) and size > WARNED_OF
    ]


def _is_page(name: str) -> bool:
    return name.endswith(".html") and "_static" not in name.split("/")


def _too_large(size: int) -> Iterator[str]:
    if size > PAGE_LIMIT:
        yield f"{size / 1000:.0f} kB of HTML, more than {PAGE_LIMIT / 1000:.0f} kB"


def _broken_outputs(page: html.HtmlElement, source: bytes) -> Iterator[str]:
    for mark, (selector, meaning) in BROKEN.items():
        if mark.encode() not in source:  # to look for elements takes far longer
            continue
        for found in page.xpath(selector):
            yield f"{meaning}: {_start(found)}"
    if b"Traceback" not in source:
        return
    for output in page.xpath(_having("cell_output")):
        if TRACEBACK in output.text_content() and not output.find_class("traceback"):
            yield f"a traceback in an output: {_start(output)}"


def _start(found: html.HtmlElement) -> str:
    return " ".join(found.text_content().split())[:80]


def _inaccessible(page: html.HtmlElement) -> Iterator[str]:
    if not page.get("lang", "").strip():
        yield "no lang attribute on <html>"
    if not (page.findtext(".//title") or "").strip():
        yield "no title"
    for image in page.iter("img"):
        decorative = (
            image.get("role") in ("none", "presentation") or image.get("aria-hidden") == "true"
        )
        if not (image.get("alt") or "").strip() and not (decorative and "alt" in image.attrib):
            yield f"an image without a text alternative: {image.get('src', '')}"
    for _ in page.xpath(
        "//article//svg[not(@aria-label) and not(title)]"
        "[not(ancestor-or-self::*[@aria-hidden='true'])]"
    ):
        yield "an inline SVG without a text alternative"
    for anchor, count in Counter(map(str, page.xpath("//article//@id"))).items():
        if count > 1:
            yield f"the id {anchor!r} occurs twice"


def _dead_links(
    page: html.HtmlElement, name: str, files: Set[str], anchors: Mapping[str, Set[str]]
) -> Iterator[str]:
    """Yield the broken links within the site; links to other sites are not checked."""
    folder = posixpath.dirname(name)
    for found in page.iter(*LINKS):
        url = found.get(LINKS[found.tag]) or ""
        parts = urlsplit(url)
        if not url or parts.scheme or parts.netloc:
            continue
        path = posixpath.join(folder, unquote(parts.path)) if parts.path else name
        target = posixpath.normpath(path)
        if target not in files:
            target = posixpath.normpath(posixpath.join(target, "index.html"))
        anchor = unquote(parts.fragment)
        if target not in files:
            yield f"a dead link: {url}"
        elif anchor and anchor not in anchors.get(target, {anchor}):
            yield f"a dead anchor: {url}"
