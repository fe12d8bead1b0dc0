"""The cards of the home page, one for each chapter."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes

from okml.chapters import CHAPTERS
from okml.ledger.quoting import plain
from okml.site import view
from okml.site.badges import count_badges
from okml.site.directives import PageDirective
from okml.site.language import Lang, said, word
from okml.site.markup import Child, element, tag
from okml.site.pages import digest_docname, doc_link
from okml.site.pictures import cover, picture


class ChapterCards(PageDirective):
    """``{chapter-cards}``: title, main claim, a picture from the run and the verdicts."""

    def render(self) -> list[nodes.Node]:
        """Return the cards of all chapters."""
        self.uses()
        cards = [self._card(chapter, self.lang) for chapter in CHAPTERS]
        return [tag("div", *cards, classes=["okml-cards"])]

    def _card(self, chapter: str, lang: Lang) -> element:
        rows = view.rows(chapter)
        docname = digest_docname(chapter, lang)
        title: Child = doc_link(docname) if docname in self.env.found_docs else chapter
        notebook = view.chapter_notebook_docname(chapter)
        run = notebook in self.env.found_docs
        claim = plain(said(rows[0].claim.text, lang)) if rows else None
        return tag(
            "article",
            tag("p", title, classes=["okml-card-title"]),
            *self._picture(chapter),
            None if run else note_of(word("will_test", lang)),
            tag("p", claim, classes=["okml-card-claim"]) if claim else None,
            tag("p", *_spaced(count_badges(rows, lang)), classes=["okml-card-verdicts"]),
            tag("p", doc_link(notebook, word("open_notebook", lang))) if run else None,
            classes=["okml-card"],
        )

    def _picture(self, chapter: str) -> list[nodes.Node]:
        """Return the cover figure of the chapter's notebook."""
        notebook = Path(self.env.srcdir) / f"{view.chapter_notebook_docname(chapter)}.ipynb"
        svg = cover(notebook) if notebook.exists() else None
        if svg is None:
            return []
        shown = picture(self.env, svg, tooltips=False)  # too small to point at
        return [tag("div", shown, classes=["okml-card-picture"])]


def note_of(text: str) -> element:
    """Return a line that says why a card has no picture."""
    return tag("p", text, classes=["okml-card-note"])


def _spaced(badges: list[Child]) -> list[Child]:
    """Put a space between badges, so that a screen reader does not run them together."""
    return [part for badge in badges for part in (badge, " ")]
