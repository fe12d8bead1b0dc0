"""Roles in the text: a claim's badge, the mark of the cell that tests it, and numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from okml.errors import OkmlError
from okml.ledger.quoting import plain
from okml.site import view
from okml.site.badges import verdict_badge
from okml.site.directives import warn
from okml.site.domain import CELL, DIGEST, domain_of, is_digest, link
from okml.site.estimates import measured_node, prose, typed
from okml.site.following import note_chapters
from okml.site.language import Lang, page_language, said, word
from okml.site.markup import element, tag

Nodes = list[nodes.Node]
MARK = "okml-tests"
MARK_LINE = "okml-tests-line"


class LedgerRole(SphinxRole, ABC):  # type: ignore[misc]
    """A role whose text names an entry of the ledger; an unknown name is a warning."""

    def run(self) -> tuple[Nodes, list[nodes.system_message]]:
        """Render, or warn and show the unchanged text."""
        self.lang = page_language(self.env.docname)
        try:
            return self.render(), []
        except OkmlError as error:
            warn(error, self.get_location(), self.name)
            return [nodes.literal("", self.text)], []

    @abstractmethod
    def render(self) -> Nodes:
        """Return the role's output.

        Raises:
            OkmlError: If the ledger has no such entry.
        """


class ClaimRole(LedgerRole):
    """``{claim}`id```: the verdict beside a sentence of the digest, and a link to its test."""

    def render(self) -> Nodes:
        """Return the badge; on the chapter's digest it is also the target of the cell's link."""
        row = view.find(self.text)
        note_chapters(self.env, row.claim.chapter)
        anchor = None
        if is_digest(self.env.docname, self.text):
            anchor = domain_of(self.env).claim_place(self.text, DIGEST, self.env.docname)
        badge = verdict_badge(row.best, self.lang)
        badge.append(tag("span", self.text, classes=["okml-id"]))
        badge["attrs"]["title"] = plain(said(row.claim.text, self.lang))
        found = tag("span", link(self.text, "claim", badge), classes=["okml-claim"])
        if anchor:
            found["ids"].append(anchor)
        return [nodes.Text(" "), found]


class TestsRole(LedgerRole):
    """``{tests}`id```: the mark of the cell that tests a claim, with a link to the sentence."""

    def render(self) -> Nodes:
        """Return the mark without text, which :func:`finish_marks` adds.

        A heading's id and its line in the table of contents are made from its text and must not
        contain the mark.
        """
        row = view.find(self.text)
        note_chapters(self.env, row.claim.chapter)
        anchor = domain_of(self.env).claim_place(self.text, CELL, self.env.docname)
        place = [anchor] if anchor else []
        mark = tag("span", classes=[MARK], ids=place, attrs={"title": self.text})
        mark["claim"] = self.text
        return [mark]


def finish_marks(app: Sphinx, doctree: nodes.document) -> None:
    """Add the texts of the marks, and move marks in a heading into a line below it."""
    lang = page_language(app.env.docname)
    for mark in [found for found in doctree.findall(element) if MARK in found["classes"]]:
        mark.extend(_mark_text(mark["claim"], lang))
        heading = mark.parent
        if not isinstance(heading, nodes.title):
            continue
        heading.remove(mark)
        section = heading.parent
        below = section[section.index(heading) + 1]
        if MARK_LINE not in below.get("classes", []):
            below = nodes.paragraph(classes=[MARK_LINE])
            section.insert(section.index(heading) + 1, below)
        below.extend([mark, nodes.Text(" ")])


def _mark_text(claim: str, lang: Lang) -> Nodes:
    """Return the text of a mark: the claim in words, and a link to its sentence in the digest."""
    sentence = link(claim, "page", tag("span", *prose(view.find(claim).claim.text, lang)))
    back = link(claim, DIGEST, tag("span", word("digest", lang)), lang)
    return [nodes.Text(f"{word('tests', lang)}: "), sentence, nodes.Text(" "), back]


class MeasuredRole(LedgerRole):
    """``{measured}`chapter.metric@profile```: a number from the recorded run."""

    def render(self) -> Nodes:
        """Return the number, or a note that this scale was not run."""
        shown = measured_node(self.text, self.lang)
        note_chapters(self.env, view.chapter_of(self.text))
        return [shown]


class TypedRole(LedgerRole):
    """``{paper}`54 %``` and ``{setting}`0.5```: a typed number with its source."""

    def render(self) -> Nodes:
        """Return the unchanged number."""
        return [typed(self.name, self.text, self.lang)]


ROLES: dict[str, Callable[[], LedgerRole]] = {
    "claim": ClaimRole,
    "tests": TestsRole,
    "measured": MeasuredRole,
    "paper": TypedRole,
    "setting": TypedRole,
}
