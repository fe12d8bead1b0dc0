"""The claims of the video workshop with tied events in two orders."""

from __future__ import annotations

from collections.abc import Iterable

from okml.benchmark import TieTrial, UpdateRate, mean_sd
from okml.ledger import Claim, load_claims
from okml.site.badges import badge
from okml.site.benchmarks import RecordTable, number
from okml.site.domain import link
from okml.site.estimates import estimate_node, prose
from okml.site.language import word
from okml.site.markup import Child, element, note, row, scrolling_table, tag
from okml.site.numerals import NO_BREAK_SPACE, numbers_in


class TieTrialTable(RecordTable[TieTrial]):
    """``{tie-trial}``: the record of ``benchmarks/trials/ties.py``."""

    file, kind, script = "tie_trial", TieTrial, "benchmarks/trials/ties.py"

    def table(self, record: TieTrial) -> element:
        """Return a row for each claim, and one for each rate of updates, both in both orders."""
        header = [word(key, self.lang) for key in ("claim", "ties.file", "ties.drawn")]
        body = [
            row([word("ties.one_way", self.lang)], *self._pair(map(percent, record.one_way))),
            row(
                [word("ties.frozen", self.lang)],
                *self._pair(map(decimal, record.frozen_ndcg10)),
            ),
        ]
        body += [
            row(self._claim(claim), *self._orders(record, claim))
            for claim in load_claims("video_workshop")
            if claim.id in record.outcomes
        ]
        claims = scrolling_table(word("ties.title", self.lang), header, body)
        return tag("div", claims, self._rates(record)) if record.rates else claims

    def _rates(self, record: TieTrial) -> element:
        """Return HR@10 by updates a period and factor of the rate, the chosen one marked."""
        found = {(rate.updates, rate.factor, rate.order): rate for rate in record.rates}
        body = []
        for updates, factor in dict.fromkeys((rate.updates, rate.factor) for rate in record.rates):
            cells = [self._hits(found[updates, factor, order]) for order in ("file", "drawn")]
            names = [[number(each, self.lang)] for each in (updates, factor)]
            body.append(row(*names, *cells))
        keys = ("ties.updates", "ties.factor", "ties.file", "ties.drawn")
        header = [word(key, self.lang) for key in keys]
        seeds = len(record.rates[0].hr10)
        return scrolling_table(word("ties.rates", self.lang).format(seeds), header, body)

    def _hits(self, rate: UpdateRate) -> list[Child | None]:
        shown = numbers_in(mean_sd(rate.hr10, 4), self.lang)
        return [shown, note(word("ties.chosen", self.lang)) if rate.chosen else None]

    def _pair(self, shown: Iterable[str]) -> list[list[Child | None]]:
        return [[numbers_in(value, self.lang)] for value in shown]

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


def percent(share: float | None) -> str:
    """Write a share, such as ``95 %``; a dash for none."""
    return "–" if share is None else f"{100 * share:.0f}{NO_BREAK_SPACE}%"


def decimal(value: float | None) -> str:
    """Write a number, such as ``0.106``; a dash for none."""
    return "–" if value is None else f"{value:.3f}"
