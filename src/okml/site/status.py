"""The status page: the last run of every chapter at every scale."""

from __future__ import annotations

from docutils import nodes

from okml.chapters import CHAPTERS
from okml.ledger import load_record
from okml.profile import PROFILE_NAMES
from okml.site.directives import PageDirective
from okml.site.language import Lang, word
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
            for profile in PROFILE_NAMES:
                record = load_record(chapter, profile)
                head = [chapter_link(self.env, chapter, lang), " ", tag("code", profile)]
                if record is None:
                    missing = tag("span", word("not_run", lang), classes=["okml-missing"])
                    body.append(row(head, [missing], *([["—"]] * 5)))
                    continue
                made = record.provenance
                machine = hardware(made.environment, lang)
                body.append(
                    row(
                        head,
                        [when(made.started)],
                        [duration(made.seconds)],
                        [", ".join(map(str, record.seeds))],
                        [commit(record, lang)],
                        [abbreviation(machine, software(made.environment))],
                        [f"{made.peak_memory_gib:.1f} GiB"],
                    )
                )
        keys = ("run", "started", "duration", "seeds", "code", "hardware", "peak_memory")
        return scrolling_table(
            word("recorded", lang), [(word(key, lang), "") for key in keys], body
        )

    def _executed(self, lang: Lang) -> element:
        body = []
        for chapter in CHAPTERS:
            run = notebook_run(self.env, chapter)
            if run is None or run.started is None:
                missing = tag("span", word("not_executed", lang), classes=["okml-missing"])
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
                    [f"{result} ({run.cells} {word('cells', lang)})"],
                )
            )
        keys = ("chapter", "profile", "started", "duration", "state")
        return scrolling_table(
            word("executed", lang), [(word(key, lang), "") for key in keys], body
        )
