"""The status page: the last run of every chapter at every scale."""

from __future__ import annotations

from docutils import nodes

from okml.chapters import CHAPTERS
from okml.ledger import RunRecord
from okml.profile import PROFILE_NAMES
from okml.site import view
from okml.site.directives import PageDirective
from okml.site.estimates import stale_note
from okml.site.language import Lang, counted, word
from okml.site.markup import Child, abbreviation, element, row, scrolling_table, tag
from okml.site.pages import chapter_link, doc_link
from okml.site.provenance import commit, duration, hardware, software, when
from okml.site.runs import notebook_run
from okml.site.view import chapter_notebook_docname


class RunStatus(PageDirective):
    """``{run-status}``: the recorded runs, and the notebooks executed for this build."""

    def render(self) -> list[nodes.Node]:
        """Return both tables."""
        self.uses()
        return [self._recorded(self.lang), self._executed(self.lang)]

    def _recorded(self, lang: Lang) -> element:
        body = []
        for chapter in CHAPTERS:
            records = {profile: view.record(chapter, profile) for profile in PROFILE_NAMES}
            name = chapter_link(self.env, chapter, lang)
            if not any(records.values()):
                body.append(row([name], [_missing("not_run", lang)], *([["—"]] * 5)))
                continue
            for profile, record in records.items():
                stale = stale_note(view.stale_since(chapter, profile), lang)
                head = [chapter_link(self.env, chapter, lang), " ", tag("code", profile), stale]
                cells = _cells(record, lang) if record else [[_missing("not_run", lang)]]
                body.append(row(head, *cells, *([["—"]] * (6 - len(cells)))))
        keys = ("run", "started", "duration", "seeds", "code", "hardware", "peak_memory")
        return scrolling_table(
            word("recorded", lang), [(word(key, lang), "") for key in keys], body
        )

    def _executed(self, lang: Lang) -> element:
        body = []
        for chapter in CHAPTERS:
            run = notebook_run(self.env, chapter)
            if run is None or run.started is None:
                missing = _missing("not_executed", lang)
                body.append(row([tag("code", chapter)], [missing], *([["—"]] * 3)))
                continue
            page: Child = doc_link(chapter_notebook_docname(chapter), chapter)
            result = word("failed" if run.failed else "finished", lang)
            body.append(
                row(
                    [page],
                    [tag("code", run.profile)],
                    [when(run.started)],
                    [duration(run.seconds or 0)],
                    [f"{result} ({counted(run.cells, 'cells', lang)})"],
                )
            )
        keys = ("chapter", "profile", "started", "duration", "state")
        return scrolling_table(
            word("executed", lang), [(word(key, lang), "") for key in keys], body
        )


def _missing(key: str, lang: Lang) -> element:
    return tag("span", word(key, lang), classes=["okml-missing"])


def _cells(record: RunRecord, lang: Lang) -> list[list[Child | None]]:
    made = record.provenance
    machine = hardware(made.environment, lang)
    return [
        [when(made.started)],
        [duration(made.seconds)],
        [", ".join(map(str, record.seeds))],
        [commit(record, lang)],
        [abbreviation(machine, software(made.environment))],
        [f"{made.peak_memory_gib:.1f} GiB"],
    ]
