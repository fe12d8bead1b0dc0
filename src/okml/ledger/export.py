"""The ledger as data: ``ledger.json``, with its JSON schema, for programs that cite or compare."""

from __future__ import annotations

import datetime
from typing import Any

from pydantic import Field

from okml.ledger.claims import Basis, Condition, PaperValue, Scale, Text
from okml.ledger.estimates import Estimate
from okml.ledger.records import RunRecord, load_record
from okml.ledger.report import RECORDED, ClaimRow, chapter_rows, format_estimate
from okml.ledger.verdicts import LABELS, Outcome
from okml.profile import ProfileName
from okml.settings import Frozen

CLAIM_PAGES = "book/claims/"


class Measured(Frozen):
    """A number with its 95 % interval."""

    mean: float
    low: float | None = Field(description="Lower end of the 95 % interval; null for a bare number.")
    high: float | None
    unit: str
    n: int = Field(description="Number of independent units sampled; 0 if only seeds.")
    over: str = Field(description="The name of the units.")
    seeds: int
    estimator: str

    @classmethod
    def of(cls, estimate: Estimate | None) -> Measured | None:
        """Return the exported form of an estimate; None if it is missing or undefined."""
        if estimate is None or estimate.undefined:
            return None
        fields = ("mean", "low", "high", "unit", "n", "over", "seeds", "estimator")
        return cls(**{name: getattr(estimate, name) for name in fields})


class ScaleResult(Frozen):
    """What one recorded run says of a claim."""

    outcome: Outcome
    bar: str | None
    measured: Measured | None
    difference: Measured | None = Field(description="The number less its control's, paired.")
    commit: str
    started: datetime.datetime
    record_sha256: str


class LedgerClaim(Frozen):
    """One claim with the outcome of each recorded scale."""

    id: str
    page: str = Field(description="Address of the claim's page, relative to the site.")
    text: Text
    source: str
    paper: PaperValue | None
    metric: str | None
    control: str | None
    conditions: tuple[Condition, ...] = Field(
        description="Each must hold by its whole interval, or the claim is undecided."
    )
    rests_on: dict[Scale, Basis]
    outcome: Outcome = Field(description="The outcome at the largest recorded scale.")
    scale: ProfileName | None
    results: dict[ProfileName, ScaleResult]
    set_on: datetime.date | None = Field(description="Date on which the bars were set.")
    revised: list[dict[str, Any]] = Field(description="Changes of bar, metric or control since.")
    cite: str


class Ledger(Frozen):
    """All claims of the site and the outcomes of their recorded runs."""

    claims: list[LedgerClaim]


def claim_page(claim_id: str) -> str:
    """Return the path of a claim's page from the root of the site, without a suffix."""
    chapter, _, name = claim_id.partition(".")
    return f"{CLAIM_PAGES}{chapter}/{name}"


def export_ledger(chapters: list[str]) -> Ledger:
    """Return the ledger of some chapters.

    Raises:
        RecordError: If the claims or a record of a chapter cannot be read.
    """
    found = []
    for chapter in chapters:
        records = {name: load_record(chapter, name) for name in RECORDED}
        known = {name: record for name, record in records.items() if record is not None}
        found += [_claim(row, known) for row in chapter_rows(chapter)]
    return Ledger(claims=found)


def _claim(row: ClaimRow, records: dict[ProfileName, RunRecord]) -> LedgerClaim:
    claim, best = row.claim, row.best_of(RECORDED)
    decided = best.profile if best.measured is not None else None
    results = {}
    for name, record in records.items():
        verdict = row.verdicts[name]
        if verdict.measured is not None:
            results[name] = ScaleResult(
                outcome=verdict.outcome,
                bar=claim.bar(name),
                measured=Measured.of(verdict.measured),
                difference=Measured.of(verdict.difference),
                commit=record.provenance.commit.sha,
                started=datetime.datetime.fromisoformat(record.provenance.started),
                record_sha256=record.sha256,
            )
    return LedgerClaim(
        id=claim.id,
        page=f"{claim_page(claim.id)}.html",
        text=claim.text,
        source=claim.source,
        paper=claim.paper,
        metric=claim.metric,
        control=claim.control.metric if claim.control else None,
        conditions=claim.conditions,
        rests_on=dict(claim.rests_on),
        outcome=best.outcome,
        scale=decided,
        results=results,
        set_on=claim.set,
        revised=[
            {
                "date": revision.date.isoformat(),
                "what": revision.what,
                "profile": revision.profile,
                "from": revision.before,
                "to": after,
                "why": revision.why.en,
            }
            for revision, after in claim.changes()
        ],
        cite=citation(row, records.get(decided) if decided else None).en,
    )


def citation(row: ClaimRow, record: RunRecord | None) -> Text:
    """Return how to cite a claim: its name, verdict and number, and the run that decided it.

    Args:
        row: The claim with its verdicts.
        record: The record of the largest recorded scale that measured the claim; None if none did,
            and the name and the verdict are cited alone.
    """
    verdict = row.best_of(RECORDED)
    label, name = LABELS[verdict.outcome], row.claim.id
    en, ru = f"okml, claim {name}: {label.en}", f"okml, утверждение {name}: {label.ru}"
    if record is None:
        return Text(en=f"{en}.", ru=f"{ru}.")
    scale, number = record.profile, f"{row.claim.metric} = {format_estimate(verdict.measured)}"
    date, commit = record.provenance.started[:10], record.provenance.commit.sha[:10]
    return Text(
        en=f"{en} at {scale}, {number}; record of {date}, commit {commit}.",
        ru=f"{ru} в масштабе {scale}, {number}; запись о запуске от {date}, коммит {commit}.",
    )
