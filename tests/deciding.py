"""What decides a claim: its metric and the paired difference from its control."""

from __future__ import annotations

from collections.abc import Iterator

from okml.ledger import Claim, Estimate, RunRecord, judge, load_claims


def deciding_estimates(record: RunRecord) -> Iterator[tuple[Claim, Estimate]]:
    """Yield them for every testable claim of a record's chapter; all of them must be there."""
    for claim in load_claims(record.chapter):
        if claim.untestable is None:
            verdict = judge(claim, record)
            for estimate in [verdict.measured, *([verdict.difference] if claim.control else [])]:
                assert estimate is not None, claim.id
                yield claim, estimate
