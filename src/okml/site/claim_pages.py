"""The pages of single claims: sentence, measurement, control, figure, history, code, citation."""

from __future__ import annotations

import json
from decimal import Decimal
from operator import itemgetter
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from okml.chapters import CHAPTERS
from okml.errors import OkmlError
from okml.ledger import ClaimRow, load_claims
from okml.ledger.deciding import OpenComparison, open_comparisons
from okml.ledger.export import Ledger, citation, claim_page, export_ledger
from okml.ledger.quoting import plain
from okml.ledger.report import RECORDED
from okml.paths import atomic_write, repository_root
from okml.profile import PROFILE_NAMES
from okml.site import view
from okml.site.badges import badge, spaced, verdict_badge
from okml.site.dependencies import note_chapters
from okml.site.directives import PageDirective, warn
from okml.site.domain import DIGEST, PAGE, domain_of, link
from okml.site.estimates import estimate_in, prose
from okml.site.history import verdict_changes
from okml.site.labels import label_in
from okml.site.language import LANGUAGES, Lang, in_language, numbers_in, other, said, word, words
from okml.site.markup import Child, definitions, element, note, paragraph, row, scrolling_table, tag
from okml.site.opening import one_figure
from okml.site.pages import digest_link
from okml.site.pictures import claim_figure, figure_of_claim
from okml.site.repository import measured_at, source_link, stated_at
from okml.site.scales import caption, made_by
from okml.site.tables import (
    change_note,
    control_cell,
    measured_cell,
    paper_cell,
    rests_on_cell,
    share_of_seeds,
)

LEDGER, SCHEMA = "ledger.json", "ledger.schema.json"


def claim_sources(chapter: str) -> dict[str, bytes]:
    """Return the sources of the pages of a chapter's claims, in both languages.

    Each source is the claim's sentence and a directive.

    Returns:
        The content of each file by its path from the root of the stage.

    Raises:
        RecordError: If the claims cannot be read, or quote a number that is not recorded.
    """
    return {
        f"{in_language(claim_page(claim.id), lang)}.md": (
            f"---\norphan: true\n---\n\n# {plain(said(claim.text, lang))}\n\n"
            f"```{{claim-page}} {claim.id}\n```\n"
        ).encode()
        for claim in load_claims(chapter)
        for lang in LANGUAGES
    }


class ClaimPage(PageDirective):
    """``{claim-page} id``: everything that is known of one claim."""

    required_arguments = 1

    def render(self) -> list[nodes.Node]:
        """Return the body of the page."""
        found = view.find(self.arguments[0])
        claim = found.claim
        note_chapters(self.env, claim.chapter)
        head = tag(
            "p",
            verdict_badge(found.best, self.lang),
            " ",
            tag("code", claim.id, classes=["okml-id"]),
            " · ",
            digest_link(self.env, claim.chapter, self.lang),
            ids=domain_of(self.env).claim_place(claim.id, PAGE, self.env.docname),
            classes=["okml-claim-head"],
        )
        why = found.best.reason
        return [
            head,
            *self._result(found),
            *([paragraph(*prose(why, self.lang))] if why else []),
            *(tag("p", told) for told in what_would_decide(found, self.lang)),
            *self._figure(claim.id),
            definitions(self._facts(found)),
            *self._scales(found),
            *self._history(found),
            self._cite(found),
        ]

    def _result(self, found: ClaimRow) -> list[nodes.Node]:
        """Return what is measured, and the number that decides with its bar and its sample."""
        claim, best = found.claim, found.best
        if claim.metric is None:
            return []
        told: list[Child | None] = prose(claim.measures, self.lang) if claim.measures else []
        shown = measured_cell(found, best.profile or PROFILE_NAMES[-1], self.lang)
        return [tag("p", *told, ": " if told else None, *shown, classes=["okml-claim-result"])]

    def _facts(self, found: ClaimRow) -> list[tuple[str, list[Child | None]]]:
        claim, lang = found.claim, self.lang
        places = [
            link(claim.id, DIGEST, tag("span", word(f"digest.{each}", lang)), each)
            for each in (lang, other(lang))
        ]
        tested = link(claim.id, "cell", tag("span", word("notebook", lang).lower()))
        where = [part for place in [*places, tested] for part in (place, " · ")][:-1]
        facts: list[tuple[str, list[Child | None]]] = [
            (word("paper", lang), paper_cell(found, lang)),
            (word("where", lang), where),
        ]
        if claim.metric is not None:
            code = [
                source_link(self.env, *place) for place in measured_at(claim.chapter, claim.metric)
            ]
            control = control_cell(found, lang, narrow=False)
            facts += [
                (word("metric", lang), [tag("code", claim.metric)]),
                (word("less_control" if claim.control else "control", lang), control),
                (word("rests_on", lang), rests_on_cell(found, lang, narrow=False)),
                (word("code", lang), spaced(code) or ["—"]),
            ]
        stated = source_link(self.env, *stated_at(claim.chapter, claim.id))
        return [*facts, (word("stated", lang), [stated])]

    def _scales(self, found: ClaimRow) -> list[nodes.Node]:
        """Return a row for each recorded scale: verdict, number and bar, and the run."""
        rows = []
        for name in RECORDED:
            verdict = found.verdicts[name]
            record = view.record(found.claim.chapter, name) if verdict.measured else None
            run = tag("p", *made_by(record, self.lang), classes=["okml-scale"]) if record else None
            shown = badge(verdict.outcome, self.lang)
            seeds = share_of_seeds(found.claim, verdict, self.lang)
            scale: list[Child | None] = [name, note(word(f"scale.{name}", self.lang))]
            rows.append(row(scale, [shown, seeds, run], measured_cell(found, name, self.lang)))
        header = words(self.lang, "profile", "verdict", "measured")
        return [scrolling_table(word("by_scale", self.lang), header, rows)]

    def _history(self, found: ClaimRow) -> list[nodes.Node]:
        """Return the changes of the claim and of its verdict, the oldest first."""
        notes = [
            (change.date, change_note(change, after, self.lang))
            for change, after in found.claim.changes()
        ]
        for turned in verdict_changes(repository_root()):
            if turned.claim.id == found.claim.id:
                head = f"{turned.date:%Y-%m-%d}, {word('verdict', self.lang).lower()}: "
                old, new = (
                    verdict_badge(each, self.lang) for each in (turned.before, turned.after)
                )
                number = estimate_in(turned.after.measured, self.lang)
                notes.append((turned.date.date(), note(head, old, " → ", new, f" {number}")))
        if not notes:
            return []
        title = tag("p", tag("strong", word("history", self.lang)))
        notes.sort(key=itemgetter(0))
        return [title, tag("ul", *(tag("li", shown) for _, shown in notes))]

    def _figure(self, claim: str) -> list[nodes.Node]:
        found = figure_of_claim(self.env, claim)
        if found is None:
            return []
        code = [source_link(self.env, *place) for place in found.drawn]
        made = caption(view.chapter_of(claim), found.scale, self.lang, code=code)
        guide = None if found.is_table else one_figure(self.env, self.lang)
        anew = [tag("p", guide, classes=["okml-anew"])] if guide is not None else []
        return [made, claim_figure(self.env, found), *anew]

    def _cite(self, found: ClaimRow) -> element:
        best = found.best_of(RECORDED)
        decided = best.profile if best.measured else None
        record = view.record(found.claim.chapter, decided) if decided else None
        up = "../" * self.env.docname.count("/")
        data = tag("a", LEDGER, attrs={"href": f"{up}{LEDGER}"})
        cited = numbers_in(said(citation(found, record), self.lang), self.lang)
        return tag(
            "p", tag("strong", word("cite", self.lang)), " ", cited, " ", data,
            classes=["okml-cite"],
        )  # fmt: skip


def what_would_decide(found: ClaimRow, lang: Lang) -> list[str]:
    """Return how large a sample would decide a claim that the largest scale left undecided.

    Mean and spread are assumed to stay the same.

    Returns:
        A sentence for each comparison that an interval leaves open; none if the claim is decided,
        or undecided for another reason.
    """
    profile = found.best.profile
    record = view.record(found.claim.chapter, profile) if profile else None
    if record is None:
        return []
    return [_sentence(each, lang) for each in open_comparisons(found.claim, record)]


def _sentence(comparison: OpenComparison, lang: Lang) -> str:
    number, needed = comparison.number, comparison.needed
    counts = (
        (label_in(number.over, lang), number.n, needed.n),
        (word("seeds", lang).lower(), number.seeds, needed.seeds),
    )
    more = [
        word("open.more", lang).format(name, f"{_rounded_up(new):,}", f"{old:,}")
        for name, old, new in counts
        if new > old
    ]
    sentence = word("open.clears" if comparison.clears else "open.misses", lang).format(
        against=word(f"open.{comparison.against}", lang),
        end=word(f"open.{comparison.end}", lang),
        by=f"{Decimal(f'{comparison.by:.2g}'):,f}",
        sample=", ".join(more),
    )
    return numbers_in(sentence, lang)


def _rounded_up(count: int) -> int:
    """Return a count rounded up to two significant digits."""
    step: int = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step


def write_ledger(app: Sphinx) -> None:
    """Write the ledger as data, and its schema, beside the pages."""
    try:
        ledger = export_ledger([*CHAPTERS])
    except OkmlError as error:
        warn(error, None, LEDGER)
        return
    contents = {
        LEDGER: {"$schema": SCHEMA, **ledger.model_dump(mode="json")},
        SCHEMA: Ledger.model_json_schema(),
    }
    for name, content in contents.items():
        with atomic_write(Path(app.outdir) / name) as handle:
            json.dump(content, handle, ensure_ascii=False, indent=1)
