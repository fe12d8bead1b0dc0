"""The claims of the video workshop with tied events in two orders."""

from __future__ import annotations

from okml.benchmark import TieTrial
from okml.ledger import Claim, load_claims
from okml.site.badges import badge
from okml.site.benchmarks import RecordTable
from okml.site.domain import link
from okml.site.estimates import estimate_node, prose
from okml.site.language import word
from okml.site.markup import Child, element, note, row, scrolling_table, tag


class TieTrialTable(RecordTable[TieTrial]):
    """``{tie-trial}``: the record of ``benchmarks/trials/ties.py``."""

    file, kind, script = "tie_trial", TieTrial, "benchmarks/trials/ties.py"

    def table(self, record: TieTrial) -> element:
        """Return a row for each claim: number and verdict in the file's order and in the drawn."""
        header = [word(key, self.lang) for key in ("claim", "ties.file", "ties.drawn")]
        body = [
            row(self._claim(claim), *self._orders(record, claim))
            for claim in load_claims("video_workshop")
            if claim.id in record.outcomes
        ]
        return scrolling_table(word("ties.title", self.lang).format(record.log), header, body)

    def _claim(self, claim: Claim) -> list[Child | None]:
        page = link(claim.id, "page", tag("code", claim.id, classes=["okml-id"]))
        return [tag("span", *prose(claim.text, self.lang)), note(page)]

    def _orders(self, record: TieTrial, claim: Claim) -> list[list[Child | None]]:
        assert claim.metric is not None  # it was judged
        measured = (record.in_file[claim.metric], record.in_drawn[claim.metric])
        return [
            [badge(outcome, self.lang), note(estimate_node(estimate, self.lang))]
            for estimate, outcome in zip(measured, record.outcomes[claim.id], strict=True)
        ]
