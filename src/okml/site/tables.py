"""The ledger as tables: one chapter's claims and verdicts, and the scoreboard of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from docutils import nodes
from sphinx.environment import BuildEnvironment

from okml.chapters import CHAPTERS
from okml.ledger import LABELS, Bar, Claim, ClaimRow, Outcome, Revision, Text, Verdict, judge
from okml.ledger.report import RECORDED
from okml.profile import PROFILE_NAMES, ProfileName
from okml.site import view
from okml.site.badges import badge, count_badges, counts, icon, verdict_badge
from okml.site.dependencies import note_chapters
from okml.site.directives import PageDirective
from okml.site.domain import DIGEST, ROW, domain_of, link
from okml.site.estimates import estimate_node, prose, sampled, stale_note
from okml.site.labels import label_in
from okml.site.language import Lang, counted, numbers_in, place_in_paper, said, word, words
from okml.site.markup import Child, element, missing, note, row, scrolling_table, tag
from okml.site.pages import digest_link

LONG = 120  # characters; a longer note in a narrow column would make its row a tall one


class ClaimsTable(PageDirective):
    """``{claims-table} chapter``: each claim with the paper's figure, ours and the verdict."""

    required_arguments = 1

    def render(self) -> list[nodes.Node]:
        """Return the table of one chapter; what a claim rests on stands below its verdict."""
        rows, lang = view.rows(self.arguments[0]), self.lang
        note_chapters(self.env, *self.arguments)
        scales = shown_scales(rows)
        header = [*words(lang, "claim", "verdict", "paper"), *scales, word("less_control", lang)]
        body = [
            row(
                _claim(found, lang),
                [*_verdict(found, lang), tag("div", *rests_on_cell(found, lang))],
                *_numbers(found, scales, lang),
            )
            for found in rows
        ]
        return [scrolling_table(word("claims", lang), header, body)]


class Verdicts(PageDirective):
    """``{verdicts} chapter``: each claim's verdict at each recorded scale, and their numbers."""

    required_arguments = 1

    def render(self) -> list[nodes.Node]:
        """Return the table of one chapter."""
        (chapter,) = self.arguments
        found = view.rows(chapter)
        note_chapters(self.env, chapter)
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
        verdict, why = found.verdicts[profile], None
        if verdict.outcome in (Outcome.UNDECIDED, Outcome.NOT_REPRODUCED):
            why = short_reason(found, profile)
        return [
            badge(verdict.outcome, self.lang),
            share_of_seeds(found.claim, verdict, self.lang),
            note(*prose(why, self.lang)) if why else None,
        ]


class Scoreboard(PageDirective):
    """``{scoreboard}``: counts by chapter, then every claim of every chapter, with filters."""

    def render(self) -> list[nodes.Node]:
        """Return both tables."""
        note_chapters(self.env)
        lang, domain = self.lang, domain_of(self.env)
        everything = {chapter: view.rows(chapter) for chapter in CHAPTERS}
        scales = shown_scales([found for rows in everything.values() for found in rows])
        titles = {key: word(key, lang) for key in ("claim", "verdict", "rests_on", "paper")}
        header = [*titles.values(), *scales, word("less_control", lang)]
        body = [
            row(
                [tag("div", *_claim(found, lang), attrs={"data-facet": chapter})],
                _verdict(found, lang),
                rests_on_cell(found, lang),
                *_numbers(found, scales, lang),
                ids=domain.claim_place(found.claim.id, ROW, self.env.docname),
            )
            for chapter, rows in everything.items()
            for found in rows
        ]
        claims = scrolling_table(
            word("claims", lang), header, body, sortable=scales, filters=lang,
            choices={
                titles["claim"]: word("chapter", lang),
                **{titles[key]: titles[key] for key in ("verdict", "rests_on")},
            },
        )  # fmt: skip
        return [summary(self.env, everything, lang), claims]


def summary(env: BuildEnvironment, everything: dict[str, list[ClaimRow]], lang: Lang) -> element:
    """Return a table of the number of claims by chapter and verdict, with sums.

    Args:
        env: The build, which is reading the page.
        everything: The claims of each chapter, by its name.
        lang: The language of the page.
    """
    header = [word("chapter", lang), *(said(LABELS[outcome], lang) for outcome in Outcome)]
    body = [
        row([digest_link(env, chapter, lang, chapter)], *_counts(rows))
        for chapter, rows in everything.items()
    ]
    total = [found for rows in everything.values() for found in rows]
    body.append(row([word("total", lang)], *_counts(total)))
    return scrolling_table(word("sum", lang), header, body)


def _counts(rows: Sequence[ClaimRow]) -> Iterator[list[Child]]:
    for count in counts(found.best for found in rows).values():
        classes = ["okml-number"] if count else ["okml-number", "okml-zero"]
        yield [tag("span", str(count), classes=classes)]


def shown_scales(rows: Sequence[ClaimRow]) -> list[ProfileName]:
    """Return the recorded scales at which any of some claims was measured, the columns of a table.

    The smallest scale is left out, since its numbers may be luck.
    """
    return [scale for scale in RECORDED if any(found.verdicts[scale].measured for found in rows)]


def _numbers(
    found: ClaimRow, scales: Sequence[ProfileName], lang: Lang
) -> Iterator[list[Child | None]]:
    """Yield the cells of the paper's number, of each scale's, and of the lead over the control."""
    yield paper_cell(found, lang)
    for scale in scales:  # in a box with its name, which a phone shows
        yield [tag("div", *measured_cell(found, scale, lang), attrs={"data-scale": scale})]
    yield control_cell(found, lang)


def claim_cell(claim: Claim, lang: Lang) -> list[Child | None]:
    """Return the text of a claim, and its name, which leads to its page."""
    page = link(claim.id, "page", tag("code", claim.id, classes=["okml-id"]))
    return [tag("span", *prose(claim.text, lang)), note(page)]


def _claim(found: ClaimRow, lang: Lang) -> list[Child | None]:
    claim = found.claim
    # A narrow column breaks the name after the chapter, not anywhere.
    name = [f"{claim.chapter}.", nodes.raw("", "<wbr>", format="html"), claim.id.partition(".")[2]]
    cell = link(claim.id, "page", tag("code", *name, classes=["okml-id"]))
    back = tag("span", word("digest", lang), classes=["okml-back"])
    return [
        tag("span", *prose(claim.text, lang), classes=["okml-text"]),
        note(cell, " ", link(claim.id, DIGEST, back, lang)),
    ]


def paper_cell(found: ClaimRow, lang: Lang) -> list[Child | None]:
    """Return the paper's figure with its unit, condition and place."""
    paper, source = found.claim.paper, place_in_paper(found.claim.source, lang)
    if paper is None:
        return ["—", note(source)]
    unit = (paper.unit_ru if lang == "ru" else None) or paper.unit
    condition = f"{said(paper.note, lang)}; {source}" if paper.note else source
    value = tag("span", numbers_in(f"{paper.value:g}", lang), classes=["okml-number"])
    return [value, note(unit), note(condition)]


def rests_on_cell(found: ClaimRow, lang: Lang, *, narrow: bool = True) -> list[Child | None]:
    """Return the kind of evidence of a claim and the date of its bars.

    Args:
        found: The claim.
        lang: The language of the page.
        narrow: Whether the cell is in a narrow column, where a long note is folded and the changes
            of the claim are counted; they are listed on the claim's page, to which the count leads.
    """
    claim = found.claim
    basis = found.best.basis or claim.basis(PROFILE_NAMES[-1])
    if claim.metric is None:
        return ["—"]
    shown = word(f"basis.{basis}", lang) if basis else "—"
    day = tag("span", str(claim.set), classes=["okml-nowrap"])
    changes = counted(len(claim.revised), "changes", lang)
    return [
        tag("span", shown, attrs={"data-facet": shown}),
        _aside(claim.rests_note, "details", lang, narrow=narrow) if claim.rests_note else None,
        note(f"{word('set', lang)} ", day) if claim.set else None,
        note(link(claim.id, "page", tag("span", changes))) if narrow and claim.revised else None,
    ]


def _aside(text: Text, summary: str, lang: Lang, *, narrow: bool) -> element:
    """Return a text as a note; in a narrow column a long one is folded behind a word."""
    shown = note(*prose(text, lang))
    if not narrow or len(text.en) <= LONG:
        return shown
    return tag("details", tag("summary", word(summary, lang)), shown, classes=["okml-fold"])


def change_note(change: Revision, after: str | None, lang: Lang) -> element:
    """Return one change of a claim after it was set: the old value, the new one, the reason.

    Args:
        change: The change.
        after: The value that it set, as text; None if it removed the value.
        lang: The language of the page.
    """
    where = [word(f"changed.{change.what}", lang)]
    if change.what == "bar" and change.profile != "any":
        where.append(change.profile)
    written = label_in if change.what == "control" else _signs  # _signs writes metrics and bars
    old, new = (written(each or "—", lang) for each in (change.before, after))
    moved = old if old == new else f"{old} → {new}"  # a metric is measured again under its name
    return note(f"{change.date}, {' '.join(where)}: {moved}. ", *prose(change.why, lang))


def measured_cell(found: ClaimRow, profile: ProfileName, lang: Lang) -> list[Child | None]:
    """Return the number of a scale, its bar, its sample and whether its record is stale."""
    claim, verdict = found.claim, found.verdicts[profile]
    bar = claim.bar(profile)
    bar_note = _bar(bar, lang) if bar else None
    if verdict.measured is None:
        if claim.untestable is not None:
            return ["—"]
        return [missing(word("not_run", lang)), bar_note]
    shown = estimate_node(verdict.measured, lang, said(LABELS[verdict.outcome], lang))
    return [
        tag("span", icon(verdict.outcome), shown, classes=["okml-nowrap"]),
        bar_note,
        note(sampled(verdict.measured, lang)),
        stale_note(claim.chapter, profile, lang),
    ]


def _bar(bar: str, lang: Lang) -> element:
    return note(f"{word('bar', lang)} {_signs(bar, lang)}", classes=["okml-bar"])


def _signs(bar: str, lang: Lang) -> str:
    shown = bar.replace(">=", "≥").replace("<=", "≤").replace("in [", "∈ [")
    return numbers_in(shown, lang)


def control_cell(found: ClaimRow, lang: Lang, *, narrow: bool = True) -> list[Child | None]:
    """Return the paired difference from the control, or the reason for its absence.

    Args:
        found: The claim.
        lang: The language of the page.
        narrow: Whether the cell is in a narrow column, where a long note is folded.
    """
    claim, best = found.claim, found.best
    if claim.control is None:
        why = claim.no_control
        return ["—", _aside(why, "why", lang, narrow=narrow) if why else None]
    text = _aside(claim.control.text, "details", lang, narrow=narrow)
    aim = _bar(claim.control.bar, lang)
    if best.measured is None:
        return [missing(word("not_run", lang)), text]
    if best.difference is None:
        return [missing(word("not_compared", lang)), text]
    beaten = {True: "beaten", False: "not_beaten", None: "not_certain"}[best.control_beaten]
    about = f"{claim.metric} − {claim.control.metric}"
    return [estimate_node(best.difference, lang, about), note(word(beaten, lang)), aim, text]


def _verdict(found: ClaimRow, lang: Lang) -> list[Child | None]:
    best = found.best
    shown = verdict_badge(best, lang)
    shown["attrs"]["data-facet"] = said(LABELS[best.outcome], lang)
    why = short_reason(found, best.profile) if best.profile else best.reason
    seeds = share_of_seeds(found.claim, best, lang)
    return [shown, seeds, _aside(why, "why", lang, narrow=True) if why else None]


def share_of_seeds(claim: Claim, verdict: Verdict, lang: Lang) -> Child | None:
    """Return a note of the number of simulator seeds whose own value clears the bar.

    The verdict is on their mean. Each seed draws a world of its own, except where one simulated log
    serves all seeds.

    Returns:
        The note; None where the claim does not rest on a simulator, was not measured, has no bar,
        or has fewer than two seeds.
    """
    if verdict.basis != "simulator" or verdict.measured is None or verdict.measured.seeds < 2:
        return None
    bar = claim.bar(verdict.profile) if verdict.profile else None
    if bar is None:
        return None
    cleared = sum(map(Bar.parse(bar).allows, verdict.measured.numbers))
    return note(word("seeds_cleared", lang).format(cleared, verdict.measured.seeds))


def short_reason(found: ClaimRow, profile: ProfileName) -> Text | None:
    """Return the reason of the verdict at a scale, without the cause that the claim names.

    The cause is a paragraph, which stands on the claim's page; here it would hide the comparison.

    Returns:
        The reason; None if the verdict needs none.
    """
    bare = found.claim.model_copy(update={"cause": {}})
    return judge(bare, view.record(found.claim.chapter, profile)).reason
