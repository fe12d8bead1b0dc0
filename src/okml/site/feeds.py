"""Subscriptions: a calendar of the meetings, and an Atom feed of meetings and digests."""

from __future__ import annotations

import datetime as dt
import subprocess
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from sphinx.application import Sphinx

from okml.paths import atomic_write, repository_root
from okml.site.group import CALENDAR, GROUP_FILE, ZONE, Group, Meeting, read_group
from okml.site.pages import FEED, digest_docname

ATOM = "http://www.w3.org/2005/Atom"
MEETINGS_PAGE = "book/group/meetings"
LINE_OCTETS = 75  # RFC 5545, section 3.1

# Moscow has kept UTC+3 all year since 26 October 2014, before the group's first meeting.
TIMEZONE = (
    "BEGIN:VTIMEZONE",
    f"TZID:{ZONE.key}",
    "BEGIN:STANDARD",
    "DTSTART:20141026T020000",
    "TZOFFSETFROM:+0400",
    "TZOFFSETTO:+0300",
    "TZNAME:MSK",
    "END:STANDARD",
    "END:VTIMEZONE",
)


def identifier(name: str) -> str:
    """Return an id that does not depend on the address of the site."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"okml:{name}"))


def calendar(meetings: Iterable[Meeting]) -> str:
    """Return the meetings as iCalendar (RFC 5545); those without a time last all day."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//okml//reading group//EN", *TIMEZONE]
    for meeting in sorted(meetings, key=lambda m: m.date):
        lines += _event(meeting)
    lines.append("END:VCALENDAR")
    return "".join(fold(line) for line in lines)


def _event(meeting: Meeting) -> list[str]:
    day = meeting.date.strftime("%Y%m%d")
    if meeting.time:
        start = f"DTSTART;TZID={ZONE.key}:{day}T{meeting.time.strftime('%H%M%S')}"
    else:
        start = f"DTSTART;VALUE=DATE:{day}"
    said = f"{meeting.presenter}, {meeting.role}" if meeting.role else meeting.presenter
    return [
        "BEGIN:VEVENT",
        f"UID:{identifier(meeting.anchor)}",
        # A fixed stamp, so that equal facts give equal files.
        f"DTSTAMP:{day}T000000Z",
        start,
        f"SUMMARY:{escape(meeting.topic)}",
        f"DESCRIPTION:{escape(said)}",
        "END:VEVENT",
    ]


def escape(text: str) -> str:
    """Escape a text value (RFC 5545, section 3.3.11)."""
    for raw in ("\\", ";", ","):
        text = text.replace(raw, "\\" + raw)
    return text.replace("\n", "\\n")


def fold(line: str) -> str:
    """End a content line, folded so that no line has more than 75 octets of UTF-8."""
    pieces, piece = [], ""
    for character in line:
        if len((piece + character).encode()) > LINE_OCTETS:
            pieces.append(piece)
            piece = " "  # a continuation starts with a space, which counts
        piece += character
    return "\r\n".join([*pieces, piece]) + "\r\n"


@dataclass(frozen=True)
class Entry:
    """One entry of the feed."""

    name: str
    title: str
    link: str
    updated: dt.datetime
    summary: str


def entries(group: Group, source: Path, known: Iterable[str]) -> list[Entry]:
    """Return meetings and digests, newest first.

    A meeting is dated by its day; a digest by the last commit that changed its page, since
    ``group.yml`` has no dates of publication.

    Args:
        group: The facts of the group.
        source: The folder of the pages, for the dates of pages without commits.
        known: The names of the book's pages.
    """
    found = [
        Entry(
            meeting.anchor,
            f"{meeting.topic} ({meeting.presenter})",
            f"{MEETINGS_PAGE}.html#{meeting.anchor}",
            dt.datetime.combine(meeting.date, meeting.time or dt.time(), ZONE),
            f"Meeting of the reading group on {meeting.date.isoformat()}.",
        )
        for meeting in group.meetings
    ]
    book = set(known)
    for digest in group.digests:
        page = digest_docname(digest.chapter, "en")
        if page in book:
            changed = last_change(f"{page}.md", source)
            about = f"Digest of “{digest.paper}”, with the claims it makes and what we measured."
            found.append(Entry(page, digest.paper, f"{page}.html", changed, about))
    return sorted(found, key=lambda entry: entry.updated, reverse=True)


def last_change(name: str, source: Path) -> dt.datetime:
    """Return the time of a page's last commit; without one, that of the file's last change."""
    command = ["git", "log", "-1", "--format=%cI", "--", name]
    done = subprocess.run(
        command, cwd=repository_root(), capture_output=True, text=True, check=False
    )
    if done.returncode == 0 and done.stdout.strip():
        return dt.datetime.fromisoformat(done.stdout.strip())
    return dt.datetime.fromtimestamp((source / name).stat().st_mtime, dt.UTC)


def atom(title: str, author: str, items: list[Entry], base: str = "") -> bytes:
    """Return the entries as an Atom feed (RFC 4287).

    Args:
        title: The title of the site.
        author: The author of the site.
        items: The entries, newest first.
        base: The address of the site with a final slash; empty for relative links.
    """
    ElementTree.register_namespace("", ATOM)
    feed = ElementTree.Element(f"{{{ATOM}}}feed")

    def add(parent: ElementTree.Element, name: str, text: str = "", **attributes: str) -> None:
        ElementTree.SubElement(parent, f"{{{ATOM}}}{name}", attributes).text = text or None

    add(feed, "id", f"urn:uuid:{identifier('feed')}")
    add(feed, "title", title)
    add(feed, "updated", (items[0].updated if items else dt.datetime.now(dt.UTC)).isoformat())
    add(feed, "link", rel="self", href=base + FEED)
    add(feed, "link", rel="alternate", href=base or "index.html")
    author_element = ElementTree.SubElement(feed, f"{{{ATOM}}}author")
    add(author_element, "name", author)
    for item in items:
        entry = ElementTree.SubElement(feed, f"{{{ATOM}}}entry")
        add(entry, "id", f"urn:uuid:{identifier(item.name)}")
        add(entry, "title", item.title)
        add(entry, "updated", item.updated.isoformat())
        add(entry, "link", rel="alternate", href=base + item.link)
        add(entry, "summary", item.summary)
    ElementTree.indent(feed)
    text: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    return text


def write_feeds(app: Sphinx, failure: Exception | None) -> None:
    """Write the calendar and the feed beside the finished pages."""
    facts = Path(app.srcdir) / GROUP_FILE
    if failure is not None or app.builder.format != "html" or not facts.exists():
        return
    assert app.env is not None
    group = read_group(facts)
    items = entries(group, Path(app.srcdir), app.env.found_docs)
    base = app.config.html_baseurl
    base = f"{base.rstrip('/')}/" if base else ""
    with atomic_write(Path(app.outdir) / CALENDAR, "wb") as handle:
        handle.write(calendar(group.meetings).encode())
    with atomic_write(Path(app.outdir) / FEED, "wb") as handle:
        handle.write(atom(app.config.html_title, app.config.author, items, base))
