"""The status page: the last run of every chapter at every scale."""

from __future__ import annotations

from docutils import nodes

from okml.chapters import CHAPTERS
from okml.ledger import RunRecord
from okml.profile import PROFILE_NAMES
from okml.site import view
from okml.site.dependencies import note_chapters
from okml.site.directives import PageDirective
from okml.site.estimates import stale_note
from okml.site.language import Lang, counted, word, words
from okml.site.markup import Child, abbreviation, element, missing, row, scrolling_table, tag
from okml.site.pages import digest_link, doc_link, page_in
from okml.site.provenance import (
    commit_node,
    duration_in,
    hardware,
    memory,
    notebook_run,
    software,
    when,
)


class RunStatus(PageDirective):
    """``{run-status}``: the recorded runs, and the notebooks executed for this build."""

    def render(self) -> list[nodes.Node]:
        """Return both tables."""
        note_chapters(self.env)
        return [self._recorded(), self._executed()]

    def _recorded(self) -> element:
        lang, body = self.lang, []
        for chapter in CHAPTERS:
            lacking = []
            for profile in PROFILE_NAMES:
                if (record := view.record(chapter, profile)) is None:
                    lacking.append(profile)
                    continue
                stale = stale_note(chapter, profile, lang)
                name = digest_link(self.env, chapter, lang, chapter)
                head = [name, " ", tag("code", profile), stale]
                body.append(row(head, *_cells(record, lang)))
            if lacking:  # they share a row, since most chapters lack some
                name = digest_link(self.env, chapter, lang, chapter)
                head = [name, " ", tag("code", ", ".join(lacking))]
                body.append(row(head, [missing(word("not_run", lang))], *([["—"]] * 5)))
        header = words(
            lang, "run", "started", "duration", "seeds", "code", "hardware", "peak_memory"
        )
        return scrolling_table(word("recorded", lang), header, body)

    def _executed(self) -> element:
        pages = [page for chapter in CHAPTERS for page in view.notebook_docnames(chapter)]
        body = [self._notebook(page) for page in pages]
        header = words(self.lang, "chapter", "profile", "started", "duration", "state")
        return scrolling_table(word("executed", self.lang), header, body)

    def _notebook(self, docname: str) -> element:
        lang = self.lang
        name, run = docname.rpartition("/")[2], notebook_run(self.env, docname)
        if run is None or run.started is None:
            state = missing(word("not_executed", lang))
            return row([tag("code", name)], [state], *([["—"]] * 3))
        page: Child = doc_link(page_in(self.env, docname, lang), name)
        result = word("failed" if run.failed else "finished", lang)
        return row(
            [page],
            [tag("code", run.profile)],
            [tag("span", when(run.started), classes=["okml-nowrap"])],
            [duration_in(run.seconds or 0, lang)],
            [f"{result} ({counted(run.cells, 'cells', lang)})"],
        )


def _cells(record: RunRecord, lang: Lang) -> list[list[Child | None]]:
    made = record.provenance
    machine = hardware(made.environment, lang)
    return [
        [tag("span", when(made.started), classes=["okml-nowrap"])],
        [duration_in(made.seconds, lang)],
        [", ".join(map(str, record.seeds))],
        [commit_node(record, lang)],
        [tag("span", abbreviation(machine, software(made.environment)), classes=["okml-machine"])],
        [memory(record, lang)],
    ]
