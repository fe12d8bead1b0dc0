"""The calendar and the feed, read back by the rules of their standards."""

import datetime as dt
from pathlib import Path
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import RecordError
from okml.paths import repository_root
from okml.site.feeds import ATOM, Entry, atom, calendar, entries, escape, fold
from okml.site.group import Meeting, read_group

FACTS = Path(__file__).parents[2] / "book/group.yml"
MOSCOW = ZoneInfo("Europe/Moscow")


def unfold(text):
    return text.replace("\r\n ", "").split("\r\n")[:-1]


def events(text):
    """Return the events of a calendar as dictionaries of (name with parameters) → value."""
    found, current = [], None
    for line in unfold(text):
        if line == "BEGIN:VEVENT":
            current = {}
        elif line == "END:VEVENT":
            found.append(current)
            current = None
        elif current is not None:
            name, _, value = line.partition(":")
            current[name] = value
    return found


@pytest.fixture
def group():
    return read_group(FACTS)


def test_every_meeting_is_an_event_with_what_rfc_5545_requires(group):
    text = calendar(group.meetings)
    lines = unfold(text)
    assert lines[0] == "BEGIN:VCALENDAR"
    assert lines[-1] == "END:VCALENDAR"
    assert "VERSION:2.0" in lines
    assert any(line.startswith("PRODID:") for line in lines)
    found = events(text)
    assert len(found) == len(group.meetings)
    assert len({event["UID"] for event in found}) == len(found)
    assert all("DTSTAMP" in event and "SUMMARY" in event for event in found)


def test_times_are_moscow_and_a_day_without_a_time_is_all_day(group):
    starts = [
        (name, value)
        for event in events(calendar(group.meetings))
        for name, value in event.items()
        if name.startswith("DTSTART")
    ]
    assert starts == [
        ("DTSTART;VALUE=DATE", "20231130"),
        ("DTSTART;TZID=Europe/Moscow", "20231214T170000"),
        ("DTSTART;TZID=Europe/Moscow", "20231228T170000"),
    ]


def test_the_zone_in_the_file_is_the_zone_of_the_tz_database(group):
    lines = unfold(calendar(group.meetings))
    assert "TZID:Europe/Moscow" in lines
    offset = next(line for line in lines if line.startswith("TZOFFSETTO:")).partition(":")[2]
    for meeting in group.meetings:
        moment = dt.datetime.combine(meeting.date, meeting.time or dt.time(12), MOSCOW)
        assert moment.strftime("%z") == offset


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=400))
def test_folded_lines_fit_and_unfold_to_the_same_text(text):
    folded = fold(f"SUMMARY:{text}")
    assert all(len(part.encode()) <= 75 for part in folded.split("\r\n"))
    assert folded.endswith("\r\n")
    assert folded[:-2].replace("\r\n ", "") == f"SUMMARY:{text}"


def test_escaping_follows_section_3_3_11():
    assert escape("a, b; c\\d\ne") == "a\\, b\\; c\\\\d\\ne"


def test_the_feed_has_what_rfc_4287_requires(group):
    items = entries(group, repository_root(), {"book/digests/space_time"})
    root = ElementTree.fromstring(atom("okml", "the group", items))
    name = {"a": ATOM}
    assert root.tag == f"{{{ATOM}}}feed"
    assert root.findtext("a:author/a:name", namespaces=name) == "the group"
    ids = [found.text for found in root.iterfind(".//a:id", name)]
    assert len(set(ids)) == len(ids) == 1 + len(items)
    assert all(value.startswith("urn:uuid:") for value in ids)
    for parent in (root, *root.iterfind("a:entry", name)):
        assert parent.findtext("a:title", namespaces=name)
        assert dt.datetime.fromisoformat(parent.findtext("a:updated", namespaces=name)).tzinfo
        assert parent.find("a:link[@rel='alternate']", name).get("href")


def test_the_feed_is_newest_first_and_holds_meetings_and_known_digests(group):
    items = entries(group, repository_root(), {"book/digests/space_time"})
    assert [item.updated for item in items] == sorted((i.updated for i in items), reverse=True)
    assert len(items) == len(group.meetings) + 1
    meeting = next(item for item in items if "Code Llama" in item.title)
    assert meeting.updated == dt.datetime(2023, 12, 14, 14, 0, tzinfo=dt.UTC)
    assert meeting.link == "book/group/meetings.html#meeting-2023-12-14"


def test_links_are_absolute_where_the_site_knows_its_address():
    entry = Entry("x", "X", "x.html", dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "about x")
    root = ElementTree.fromstring(atom("t", "a", [entry], "https://example.org/book/"))
    links = [link.get("href") for link in root.iter(f"{{{ATOM}}}link")]
    assert all(link.startswith("https://example.org/book/") for link in links)


def test_a_build_writes_both_files_and_links_them(book):
    book.write("book/group.yml", FACTS.read_text(encoding="utf-8"))
    book.write("book/group/meetings.md", "# Meetings\n\n```{group-meetings}\n```\n")
    book.build()
    assert book.warnings == ""
    site = book.root / "html"
    assert len(events((site / "meetings.ics").read_bytes().decode())) == 3
    ElementTree.parse(site / "feed.xml")
    page = book.page("book/group/meetings")
    for link in page.select("p a[href$='.ics'], p a[href$='.xml']"):
        assert (site / "book/group" / link["href"]).resolve().exists()
    assert page.find(id="meeting-2023-12-14")
    assert page.find("span", lang="ru", string="Никита Грищенков")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('time: "17:00"', "time: 17:00", "quote the time"),
        ("chapter: strec", "chapter: stre", "is no chapter"),
        ("presenter:", "speaker_:", "Extra inputs"),
        ("date: 2023-12-14", "date: soon", "date"),
    ],
)
def test_malformed_facts_are_named(tmp_path, old, new, said):
    text = FACTS.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "group.yml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(RecordError, match=said):
        read_group(path)


def test_a_file_that_is_no_list_of_facts_is_named(tmp_path):
    path = tmp_path / "group.yml"
    with pytest.raises(RecordError, match=r"group\.yml cannot be read"):
        read_group(path)
    path.write_text("meetings: [", encoding="utf-8")
    with pytest.raises(RecordError, match=r"group\.yml cannot be read"):
        read_group(path)


def test_a_meeting_knows_its_anchor():
    assert Meeting(date="2024-02-03", presenter="A", topic="B").anchor == "meeting-2024-02-03"


def test_the_numbers_in_the_review_of_the_year_are_those_of_the_facts(group):
    text = (FACTS.parent / "group/year_2023.md").read_text(encoding="utf-8")
    year = group.year_in_review_2023
    for number in (
        year.reading_group_meetings,
        year.papers_digested,
        len(year.talks),
        len(year.articles),
    ):
        assert f" {number} " in text.replace("\n", " ")
