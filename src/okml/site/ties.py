"""The claims of the video workshop with tied events in other orders than that of its record."""

from __future__ import annotations

from okml.benchmark import TieTrial
from okml.ledger import Claim, judge, load_claims
from okml.site import view
from okml.site.badges import badge
from okml.site.benchmarks import RecordTable, number, share, spread
from okml.site.estimates import estimate_node
from okml.site.language import numbers_in, word, words
from okml.site.markup import Child, element, note, row, scrolling_table, tag
from okml.site.tables import claim_cell

CHAPTER = "video_workshop"


class TieTrialTable(RecordTable[TieTrial]):
    """``{tie-trial}``: the record of ``benchmarks/trials/ties.py``."""

    file, kind, script = "tie_trial", TieTrial, "benchmarks/trials/ties.py"

    def table(self, record: TieTrial) -> element:
        """Return a row for each claim, and one for each rate of updates, in both orders.

        A claim has its verdict in the chapter's record beside them, for which the order was drawn
        once more.
        """
        view.note_chapters(self.env, CHAPTER)
        lang = self.lang
        header = words(lang, "claim", "ties.file", "ties.drawn", "ties.record")
        shares = [[share(each, lang)] for each in record.one_way]
        ndcg = [
            ["–" if each is None else numbers_in(f"{each:.3f}", lang)]
            for each in record.frozen_ndcg10
        ]
        body = [
            row([word("ties.one_way", lang)], *shares, ["–"]),
            row([word("ties.frozen", lang)], *ndcg, ["–"]),
        ]
        body += [
            row(claim_cell(claim, lang), *self._orders(record, claim))
            for claim in load_claims(CHAPTER)
            if claim.id in record.outcomes
        ]
        claims = scrolling_table(word("ties.title", lang), header, body)
        return tag("div", claims, self._rates(record)) if record.rates else claims

    def _rates(self, record: TieTrial) -> element:
        """Return HR@10 by updates a period and factor of the rate, the chosen one marked."""
        found = {(rate.updates, rate.factor, rate.order): rate for rate in record.rates}
        body, chosen = [], word("ties.chosen", self.lang)
        for updates, factor in dict.fromkeys((rate.updates, rate.factor) for rate in record.rates):
            names = [[number(each, self.lang)] for each in (updates, factor)]
            rates = (found[updates, factor, order] for order in ("file", "drawn"))
            hits = [
                [spread(rate.hr10, self.lang, 4), note(chosen) if rate.chosen else None]
                for rate in rates
            ]
            body.append(row(*names, *hits))
        header = words(self.lang, "ties.updates", "ties.factor", "ties.file", "ties.drawn")
        seeds = len(record.rates[0].hr10)
        return scrolling_table(word("ties.rates", self.lang).format(seeds), header, body)

    def _orders(self, record: TieTrial, claim: Claim) -> list[list[Child | None]]:
        verdict = judge(claim, view.record(CHAPTER, record.profile))
        assert claim.metric is not None  # it was judged
        outcomes = (*record.outcomes[claim.id], verdict.outcome)
        numbers = (record.in_file[claim.metric], record.in_drawn[claim.metric], verdict.measured)
        return [
            [badge(outcome, self.lang), note(estimate_node(found, self.lang)) if found else None]
            for outcome, found in zip(outcomes, numbers, strict=True)
        ]
