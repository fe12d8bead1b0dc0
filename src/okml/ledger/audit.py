"""The audit: the evidence behind each claim's verdict, and the gaps in it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from okml.errors import RecordError
from okml.ledger.claims import Claim, Stood, load_claims
from okml.ledger.estimates import Estimate
from okml.ledger.quoting import plain, typed_results
from okml.ledger.records import SCHEMA_VERSION, RunRecord, load_record
from okml.ledger.report import RECORDED, format_estimate
from okml.ledger.staleness import staleness
from okml.ledger.verdicts import Outcome, judge
from okml.profile import ProfileName
from okml.settings import Frozen


class Evidence(Frozen):
    """The audit of a record, of a claim at one scale, or of a claim that no run measured."""

    subject: str  # the chapter of a record, or the id of a claim
    profile: ProfileName | None = None
    outcome: Outcome | None = None
    facts: tuple[str, ...] = ()  # interval, control, kind of evidence, dates
    missing: tuple[str, ...] = ()  # the gaps: what the claim or its record lacks


def audit(chapter: str) -> list[Evidence]:
    """Return the evidence for the claims of a chapter at each scale, and the gaps in it.

    Raises:
        RecordError: If the claims or a record cannot be read.
    """
    loaded = {name: load_record(chapter, name) for name in RECORDED}
    records = {name: record for name, record in loaded.items() if record is not None}
    found = [
        Evidence(subject=chapter, profile=name, missing=tuple(_of_record(record)))
        for name, record in records.items()
    ]
    for claim in load_claims(chapter):
        alone = tuple(_of_claim(claim))
        of_runs = [
            _evidence(claim, record, alone)
            for record in records.values()
            if claim.metric in record.metrics
        ]
        outcome = judge(claim, None).outcome
        found += of_runs or [Evidence(subject=claim.id, outcome=outcome, missing=alone)]
    return found


def _evidence(claim: Claim, record: RunRecord, alone: tuple[str, ...]) -> Evidence:
    verdict, measured = judge(claim, record), record.metrics[claim.metric or ""]
    return Evidence(
        subject=claim.id,
        profile=record.profile,
        outcome=verdict.outcome,
        facts=tuple(_facts(claim, record, measured, verdict.difference)),
        missing=(*alone, *_of_run(claim, record, measured, verdict.difference)),
    )


def _of_record(record: RunRecord) -> Iterator[str]:
    """Yield what a record lacks, without which all its numbers are in doubt."""
    if record.schema_version < SCHEMA_VERSION:
        yield "a run that records intervals and the claims as they stood"
    if record.provenance.commit.dirty:
        yield "a run from a clean checkout: this one had uncommitted changes"
    if stale := staleness(record):
        what = " and ".join(name for name in ("settings", "code") if getattr(stale, name))
        known = "" if stale.commits is None else f" ({stale.commits} commits to the chapter since)"
        yield f"a run of today's {what}{known}"


def _of_claim(claim: Claim) -> Iterator[str]:
    """Yield the statements that the claim itself lacks."""
    if claim.untestable is not None:
        return
    if claim.set is None:
        yield "set: when its bars were set"
    if claim.control is None and claim.no_control is None:
        yield "control: what would sink it; or no_control: why nothing would"
    if not claim.rests_on:
        yield "rests_on: real, synthetic, simulator or arithmetic"
    for profile, cause in claim.cause.items():
        for text in (cause.en, cause.ru):
            if typed := typed_results(text):
                yield f"cause at {profile}: {', '.join(typed)} typed, not quoted from a record"
            try:
                plain(text)
            except RecordError as error:
                yield f"cause at {profile}: {error.message}"


def _of_run(
    claim: Claim, record: RunRecord, measured: Estimate, difference: Estimate | None
) -> Iterator[str]:
    """Yield what a run did not measure for a claim, or measured under an earlier version of it."""
    profile = record.profile
    if claim.bar(profile) is None:
        yield f"a bar for {profile}, where it has a number"
    if claim.rests_on and claim.basis(profile) is None:
        yield f"rests_on for {profile}"
    yield from _of_estimate(claim.metric or "", measured)
    if claim.control is not None:
        control = claim.control.metric
        if difference is None:
            yield f"the paired difference of {claim.metric} and {control}"
        else:
            yield from _of_estimate(f"the difference from {control}", difference)
            if difference.seeds < measured.seeds:
                yield f"{control} on all {measured.seeds} seeds"
    if record.schema_version == SCHEMA_VERSION:  # the first schema kept no claims
        date = datetime.date.fromisoformat(record.provenance.started[:10])
        yield from disagreements(claim, profile, record.claims.get(claim.id), date)


def _of_estimate(name: str, estimate: Estimate) -> Iterator[str]:
    if estimate.undefined:
        yield f"a value of {name} for every seed"
    elif estimate.interval is None:
        yield f"an interval of {name}"
    elif estimate.seeds == 1:
        yield f"more seeds of {name}: one seed's interval covers {estimate.over} alone"


def disagreements(
    claim: Claim, profile: ProfileName, stood: Stood | None, date: datetime.date
) -> Iterator[str]:
    """Yield each part of a claim that differs from the record's without a dated revision.

    Args:
        claim: The current claim.
        profile: The scale of the record.
        stood: The claim as the record keeps it; None if the run did not know it.
        date: The date on which the run started, in UTC.
    """
    if claim.set is not None and claim.set > date:
        yield f"a run after the bars were set on {claim.set}: that of {date} came first"
    elif stood is None:
        yield f"{claim.id} in the record of {date}, though it was set before"
    if stood is None:
        return
    now = claim.as_it_stands(profile)
    for what in ("metric", "bar", "control", "condition"):
        before, after = getattr(stood, what), getattr(now, what)
        explained = any(
            revision.what == what
            and revision.before == before
            and revision.date >= date
            and (what != "bar" or revision.profile in (profile, "any"))
            for revision in claim.revised
        )
        if before != after and not explained:
            yield f"revised: {_was(what, before)} when the run of {date} was made"


def _facts(
    claim: Claim, record: RunRecord, measured: Estimate, difference: Estimate | None
) -> Iterator[str]:
    bar = claim.bar(record.profile)
    yield f"{claim.metric} {described(measured)}; bar {bar or 'none'}"
    if claim.control is not None:
        less = described(difference) if difference else "not compared"
        yield f"less {claim.control.metric}: {less}; bar {claim.control.bar}"
    for condition in claim.conditions_at(record.profile):
        found = record.metrics.get(condition.metric)
        measured_as = described(found) if found else "not measured"
        yield f"condition {condition.metric} {measured_as}; bar {condition.bar}"
    dates = f"bar set {claim.set}, run {record.provenance.started[:10]}"
    yield f"rests on {claim.basis(record.profile) or '?'}; {dates}"
    for revision in claim.revised:
        yield f"{revision.date}: {_was(revision.what, revision.before)}; {revision.why.en}"


def _was(what: str, before: str | None) -> str:
    return f"there was no {what}" if before is None else f"the {what} was {before!r}"


def described(estimate: Estimate) -> str:
    """Return an estimate as text, with its sample and the estimator of its interval."""
    if estimate.exact:
        return f"{format_estimate(estimate)}, exact"
    sampled = [f"{estimate.n:,} {estimate.over}"] if estimate.n else []
    if estimate.seeds:
        sampled.append(f"{estimate.seeds} seed{'s' if estimate.seeds > 1 else ''}")
    how = estimate.estimator or "no interval"
    return f"{format_estimate(estimate)} over {' x '.join(sampled) or 'one run'} ({how})"
