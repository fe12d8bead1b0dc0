"""What decides a claim: its metric and the paired difference from its control."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from okml.ledger import Claim, Estimate, RunRecord, judge, load_claims


def deciding_estimates(
    record: RunRecord, without: Collection[str] = ()
) -> Iterator[tuple[Claim, Estimate]]:
    """Yield them for the testable claims of a record's chapter; all of them must be there.

    Args:
        record: The record of a run.
        without: The ids of claims about what the run did not read.
    """
    for claim in load_claims(record.chapter):
        if claim.untestable is None and claim.id not in without:
            verdict = judge(claim, record)
            for estimate in [verdict.measured, *([verdict.difference] if claim.control else [])]:
                assert estimate is not None, claim.id
                yield claim, estimate


def check_intervals(record: RunRecord) -> None:
    """Check that each claim of a record is decided, and by an interval where units are sampled.

    One seed makes no interval of what only the seed changes.
    """
    for claim, estimate in deciding_estimates(record):
        whole = estimate.interval is not None or not estimate.over or estimate.seeds == 1
        assert whole, claim.id
