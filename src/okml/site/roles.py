"""Roles in the text: a claim's badge, the mark of the cell that tests it, and numbers."""

from __future__ import annotations

from collections.abc import Callable

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxRole

from okml.errors import OkmlError
from okml.ledger.quoting import plain
from okml.site import view
from okml.site.badges import verdict_badge
from okml.site.dependencies import note_chapters
from okml.site.directives import warn
from okml.site.domain import CELL, DIGEST, domain_of, link
from okml.site.estimates import measured_node, prose, typed
from okml.site.language import Lang, page_language, said, word
from okml.site.markup import element, tag

Nodes = list[nodes.Node]
Show = Callable[[BuildEnvironment, str, Lang], Nodes]  # the build, the role's text, the language
MARK = "okml-tests"
MARK_LINE = "okml-tests-line"


class LedgerRole(SphinxRole):  # type: ignore[misc]
    """A role whose text names an entry of the ledger; an unknown name is a warning.

    Args:
        show: A function that returns what the role shows. It raises an ``OkmlError`` if the ledger
            has no such entry.
    """

    def __init__(self, show: Show) -> None:
        self.show = show

    def run(self) -> tuple[Nodes, list[nodes.system_message]]:
        """Return what the role shows; after an error the unchanged text, with a warning."""
        try:
            return self.show(self.env, self.text, page_language(self.env.docname)), []
        except OkmlError as error:
            warn(error, self.get_location(), self.name)
            return [nodes.literal("", self.text)], []


def claim_badge(env: BuildEnvironment, claim: str, lang: Lang) -> Nodes:
    """Return the verdict beside a sentence of the digest, with a link to its test.

    On the chapter's digest it is also the target of the cell's link.

    Args:
        env: The build, which is reading the page.
        claim: The id of the claim.
        lang: The language of the page.

    Raises:
        ParameterError: If no chapter lists the claim.
    """
    row = view.find(claim)
    note_chapters(env, row.claim.chapter)
    on_digest = env.docname == view.digest_docname(row.claim.chapter, lang)
    ids = domain_of(env).claim_place(claim, DIGEST, env.docname) if on_digest else []
    badge = verdict_badge(row.best, lang)
    badge.append(tag("span", claim, classes=["okml-id"]))
    badge["attrs"]["title"] = plain(said(row.claim.text, lang))
    found = tag("span", link(claim, "claim", badge), classes=["okml-claim"], ids=ids)
    return [nodes.Text(" "), found]


def cell_mark(env: BuildEnvironment, claim: str, lang: Lang) -> Nodes:
    """Return the mark of the cell that tests a claim, without text: :func:`finish_marks` adds it.

    A heading's id and its line in the table of contents are made from its text and must not
    contain the mark.

    Args:
        env: The build, which is reading the page.
        claim: The id of the claim.
        lang: The language of the page, which does not matter here.

    Raises:
        ParameterError: If no chapter lists the claim.
    """
    note_chapters(env, view.find(claim).claim.chapter)
    ids = domain_of(env).claim_place(claim, CELL, env.docname)
    mark = tag("span", classes=[MARK], ids=ids, attrs={"title": claim})
    mark["claim"] = claim
    return [mark]


def finish_marks(app: Sphinx, doctree: nodes.document) -> None:
    """Add the texts of the marks, and move marks in a heading into a line below it.

    A text is the claim in words, and a link to its sentence in the digest.
    """
    lang = page_language(app.env.docname)
    for mark in [found for found in doctree.findall(element) if MARK in found["classes"]]:
        claim = mark["claim"]
        sentence = link(claim, "page", tag("span", *prose(view.find(claim).claim.text, lang)))
        back = link(claim, DIGEST, tag("span", word("digest", lang)), lang)
        mark.extend([nodes.Text(f"{word('tests', lang)}: "), sentence, nodes.Text(" "), back])
        if isinstance(mark.parent, nodes.title):
            _move_below(mark.parent, mark)


def _move_below(heading: nodes.title, mark: element) -> None:
    """Move a mark out of a heading, into a paragraph below it that all marks of the heading share.

    The first mark that is moved makes the paragraph.
    """
    heading.remove(mark)
    section = heading.parent
    place = section.index(heading) + 1
    if MARK_LINE not in section[place].get("classes", []):
        section.insert(place, nodes.paragraph(classes=[MARK_LINE]))
    section[place].extend([mark, nodes.Text(" ")])


def recorded_number(env: BuildEnvironment, quote: str, lang: Lang) -> Nodes:
    """Return the recorded number that a quote names, or a note that its scale was not run.

    Args:
        env: The build, which is reading the page.
        quote: A metric and a scale, such as ``add.fd_ratio@cpu``; see
            :class:`okml.ledger.quoting.Quote`.
        lang: The language of the page.

    Raises:
        OkmlError: If the quote is malformed, or the ledger does not have the number.
    """
    number = measured_node(quote, lang)
    note_chapters(env, view.chapter_of(quote))  # the page changes when the record does
    return [number]


ROLES: dict[str, Show] = {
    "claim": claim_badge,
    "tests": cell_mark,
    "measured": recorded_number,
    "paper": lambda env, text, lang: [typed("paper", text, lang)],
    "setting": lambda env, text, lang: [typed("setting", text, lang)],
}
