"""The cards of the home page, one for each chapter."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes

from okml.chapters import CHAPTERS
from okml.ledger import ClaimRow
from okml.ledger.quoting import plain
from okml.site import view
from okml.site.badges import count_badges, spaced, verdict_badge
from okml.site.dependencies import note_chapters
from okml.site.directives import PageDirective
from okml.site.language import said, word
from okml.site.markup import element, tag
from okml.site.pages import digest_link, doc_link, page_in
from okml.site.pictures import cover, picture


class ChapterCards(PageDirective):
    """``{chapter-cards}``: title, a picture from the run, the main claim and the verdicts."""

    def render(self) -> list[nodes.Node]:
        """Return the cards of all chapters."""
        note_chapters(self.env)
        cards = map(self._card, CHAPTERS)
        return [tag("div", *cards, classes=["okml-cards"])]

    def _card(self, chapter: str) -> element:
        rows = view.rows(chapter)
        english = view.notebook_docnames(chapter)
        pages = [page_in(self.env, page, self.lang) for page in english]
        run = [page for page in pages if page in self.env.found_docs]
        verdicts = count_badges((row.best for row in rows), self.lang)
        return tag(
            "article",
            tag("p", digest_link(self.env, chapter, self.lang), classes=["okml-card-title"]),
            *self._picture(pages),
            self._claim(rows[0]) if rows else None,
            tag("p", *verdicts, classes=["okml-card-verdicts"]),
            self._notebooks(run) if run else None,
            classes=["okml-card"],
        )

    def _claim(self, row: ClaimRow) -> element:
        """Return a claim with its verdict, without which it would read as a finding."""
        text = plain(said(row.claim.text, self.lang))
        verdict = verdict_badge(row.best, self.lang)
        return tag("p", text, " ", verdict, classes=["okml-card-claim"])

    def _notebooks(self, pages: list[str]) -> element:
        """Return links to the notebooks: one in words, several by number."""
        if len(pages) == 1:
            return tag("p", doc_link(pages[0], word("open_notebook", self.lang)))
        links = [doc_link(page, str(number)) for number, page in enumerate(pages, start=1)]
        return tag("p", word("open_notebooks", self.lang), " ", *spaced(links))

    def _picture(self, pages: list[str]) -> list[nodes.Node]:
        """Return the cover figure of the first notebook that has one."""
        covers = (cover(Path(self.env.srcdir) / f"{page}.ipynb") for page in pages)
        svg = next((found for found in covers if found is not None), None)
        if svg is None:
            return []
        shown = picture(self.env, svg, tooltips=False)  # too small to point at
        return [tag("div", shown, classes=["okml-card-picture"])]
