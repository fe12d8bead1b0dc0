"""The reading group: its facts in ``book/group.yml``, validated and shown as tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml
from docutils import nodes
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from okml.chapters import CHAPTERS
from okml.errors import RecordError
from okml.site import view
from okml.site.badges import count_badges
from okml.site.directives import PageDirective
from okml.site.language import word
from okml.site.markup import element, external, note, row, scrolling_table, tag, words
from okml.site.pages import FEED, chapter_link

GROUP_FILE = "book/group.yml"
CALENDAR = "meetings.ics"
ZONE = ZoneInfo("Europe/Moscow")  # the team's time zone; the announcements name none


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Channel(_Facts):
    """The channel on which the group publishes."""

    name: str
    language: str
    since: str
    team: str
    team_size: str


class Meeting(_Facts):
    """One meeting; ``time`` is local to Moscow and absent where the channel named none."""

    date: dt.date
    presenter: str
    topic: str
    time: dt.time | None = None
    role: str | None = None
    chapter: str | None = None
    recording: str | None = None

    @field_validator("time", mode="before")
    @classmethod
    def _quoted(cls, value: object) -> object:
        """Refuse an unquoted time, since YAML reads 17:00 as the number 1020."""
        if isinstance(value, int):
            raise ValueError("quote the time, e.g. '17:00'")
        return value

    @property
    def anchor(self) -> str:
        """The id of the meeting's row."""
        return f"meeting-{self.date.isoformat()}"


class Digest(_Facts):
    """One digest the group published."""

    paper: str
    chapter: str
    series: str | None = None
    arxiv: str | None = None
    doi: str | None = None
    note: str | None = None

    @field_validator("chapter")
    @classmethod
    def _known(cls, chapter: str) -> str:
        if chapter not in CHAPTERS:
            raise ValueError(f"{chapter!r} is no chapter")
        return chapter

    @property
    def link(self) -> tuple[str, str] | None:
        """The paper's DOI or arXiv id, and its address."""
        if self.doi:
            return f"doi:{self.doi}", f"https://doi.org/{self.doi}"
        if self.arxiv:
            return f"arXiv:{self.arxiv}", f"https://arxiv.org/abs/{self.arxiv}"
        return None


class Talk(_Facts):
    """One talk of a member of the team."""

    title: str
    speaker: str
    event: str
    city: str


class Year(_Facts):
    """The review of a year."""

    channel_age: str
    reading_group_meetings: int = Field(ge=0)
    papers_digested: int = Field(ge=0)
    examples: tuple[str, ...]
    talks: tuple[Talk, ...]
    articles: tuple[str, ...]


class Group(_Facts):
    """All facts of the group."""

    channel: Channel
    meetings: tuple[Meeting, ...]
    digests: tuple[Digest, ...]
    year_in_review_2023: Year


def read_group(path: Path) -> Group:
    """Read the facts.

    Raises:
        RecordError: If the file is malformed or a field is unknown.
    """
    try:
        return Group.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RecordError(f"{path.name} is malformed: {wrong}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RecordError(f"{path.name} cannot be read: {error}") from None


class GroupDirective(PageDirective):
    """A table from the facts of the group."""

    @property
    def group(self) -> Group:
        """The facts; the page is built again when they change."""
        path = Path(self.env.srcdir) / GROUP_FILE
        self.env.note_dependency(str(path))
        return read_group(path)

    def table(self, label: str, columns: list[tuple[str, str]], rows: list[element]) -> nodes.Node:
        """Return a table with a filter bar; columns are (word key, kind) pairs."""
        header = [(word(key, self.lang), kind) for key, kind in columns]
        return scrolling_table(word(label, self.lang), header, rows, filters=self.lang)

    def words(self, text: str) -> nodes.Node:
        """Return a text, marked as Russian on a page of another language."""
        return words(text, self.lang)


class GroupMeetings(GroupDirective):
    """``{group-meetings}``: the meetings, newest first, with the calendar and the feed."""

    def render(self) -> list[nodes.Node]:
        """Return the links to subscribe to, and the table."""
        meetings = sorted(self.group.meetings, key=lambda meeting: meeting.date, reverse=True)
        rows: list[element] = [
            row(
                [tag("time", m.date.isoformat(), attrs={"datetime": m.date.isoformat()})],
                [m.time.strftime("%H:%M") + " MSK" if m.time else "—"],
                [self._presenter(m), note(m.role) if m.role else None],
                [self.words(m.topic), note(m.recording) if m.recording else None],
                [chapter_link(self.env, m.chapter, self.lang) if m.chapter else "—"],
                anchor=m.anchor,
            )
            for m in meetings
        ]
        columns = [("date", "sort"), ("time", ""), ("presenter", "facet"), ("topic", "")]
        columns.append(("chapter", ""))
        return [self._subscribe(), self.table("meetings", columns, rows)]

    def _presenter(self, meeting: Meeting) -> element:
        """Return the presenter's name as the cell's filter value, without the role."""
        name = self.words(meeting.presenter)
        return tag("span", name, attrs={"data-facet": meeting.presenter})

    def _subscribe(self) -> nodes.Node:
        up = "../" * self.env.docname.count("/")
        calendar = external(word("subscribe_calendar", self.lang), up + CALENDAR)
        feed = external(word("subscribe_feed", self.lang), up + FEED)
        for link in (calendar, feed):
            link["internal"] = True  # a file of this site, not another one
        return nodes.paragraph(
            "",
            "",
            nodes.Text(f"{word('subscribe', self.lang)}: "),
            calendar,
            nodes.Text(", "),
            feed,
        )


class GroupDigests(GroupDirective):
    """``{group-digests}``: the papers the group digested, with the verdicts so far."""

    def render(self) -> list[nodes.Node]:
        """Return the table."""
        self.uses()
        rows: list[element] = []
        for digest in self.group.digests:
            link = external(*digest.link) if digest.link else None
            verdicts = count_badges(view.rows(digest.chapter), self.lang)
            rows.append(
                row(
                    [digest.paper, note(link) if link else None],
                    [chapter_link(self.env, digest.chapter, self.lang)],
                    [digest.series or "—"],
                    [part for badge in verdicts for part in (badge, " ")] or ["—"],
                )
            )
        columns = [("paper", "sort"), ("chapter", ""), ("series", "facet"), ("verdict", "")]
        return [self.table("digests", columns, rows)]


class GroupTalks(GroupDirective):
    """``{group-talks}``: the team's talks."""

    def render(self) -> list[nodes.Node]:
        """Return the table."""
        rows: list[element] = [
            row([self.words(talk.title)], *([self.words(text)] for text in rest))
            for talk in self.group.year_in_review_2023.talks
            for rest in [(talk.speaker, talk.event, talk.city)]
        ]
        columns = [("talk", "sort"), ("speaker", "facet"), ("event", "sort"), ("city", "facet")]
        return [self.table("talks", columns, rows)]


class GroupArticles(GroupDirective):
    """``{group-articles}``: the team's articles."""

    def render(self) -> list[nodes.Node]:
        """Return the list."""
        titles = self.group.year_in_review_2023.articles
        items = [nodes.list_item("", nodes.paragraph("", "", self.words(t))) for t in titles]
        return [nodes.bullet_list("", *items)]
