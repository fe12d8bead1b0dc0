"""The verdicts of a chapter at its recorded scales, side by side, each with what kept it open."""

from __future__ import annotations

from docutils import nodes

from okml.ledger import Bar, Claim, ClaimRow, Outcome, Text, Verdict, judge
from okml.ledger.report import RECORDED
from okml.profile import ProfileName
from okml.site import view
from okml.site.badges import badge, count_badges
from okml.site.directives import ChapterDirective
from okml.site.domain import link
from okml.site.estimates import prose
from okml.site.language import Lang, word
from okml.site.markup import Child, note, row, scrolling_table, tag


class Verdicts(ChapterDirective):
    """``{verdicts} chapter``: each claim's verdict at each recorded scale, and their numbers."""

    def render_chapter(self, chapter: str) -> list[nodes.Node]:
        """Return the table of one chapter."""
        found = view.rows(chapter)
        scales = [name for name in RECORDED if view.record(chapter, name) is not None]
        header = [word("claim", self.lang), *scales]
        body = [
            row(claim_cell(each.claim, self.lang), *(self._verdict(each, name) for name in scales))
            for each in found
        ]
        total = row(
            [word("total", self.lang)],
            *(count_badges((each.verdicts[name] for each in found), self.lang) for name in scales),
        )
        return [scrolling_table(word("verdicts", self.lang), header, [*body, total])]

    def _verdict(self, found: ClaimRow, profile: ProfileName) -> list[Child | None]:
        verdict, why = found.verdicts[profile], short_reason(found, profile)
        return [
            badge(verdict.outcome, self.lang),
            share_of_seeds(found.claim, verdict, self.lang),
            note(*prose(why, self.lang)) if why else None,
        ]


def claim_cell(claim: Claim, lang: Lang) -> list[Child | None]:
    """Return the text of a claim, and its name, which leads to its page."""
    page = link(claim.id, "page", tag("code", claim.id, classes=["okml-id"]))
    return [tag("span", *prose(claim.text, lang)), note(page)]


def share_of_seeds(claim: Claim, verdict: Verdict, lang: Lang) -> Child | None:
    """Return with how many seeds of a simulator the number clears the bar by itself.

    The verdict is on their mean. A seed draws a world of its own, but where one simulated log
    serves all seeds. None where no simulator decides, or where it has one seed.
    """
    if verdict.basis != "simulator" or verdict.measured is None or verdict.measured.seeds < 2:
        return None
    bar = claim.bar(verdict.profile) if verdict.profile else None
    if bar is None:
        return None
    cleared = sum(map(Bar.parse(bar).allows, verdict.measured.numbers))
    return note(word("seeds_cleared", lang).format(cleared, verdict.measured.seeds))


def short_reason(found: ClaimRow, profile: ProfileName) -> Text | None:
    """Return what the verdict at a scale turns on, without the cause that the claim names.

    The cause is a paragraph, which stands on the claim's page; here it would hide the comparison.
    """
    if found.verdicts[profile].outcome not in (Outcome.UNDECIDED, Outcome.NOT_REPRODUCED):
        return None
    bare = found.claim.model_copy(update={"cause": {}})
    return judge(bare, view.record(found.claim.chapter, profile)).reason
