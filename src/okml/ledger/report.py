"""The ledger as rows: a claim with its verdict at each scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

from okml.ledger.claims import Claim, load_claims
from okml.ledger.estimates import Estimate
from okml.ledger.records import load_record
from okml.ledger.verdicts import Outcome, Verdict, judge
from okml.profile import PROFILE_NAMES, ProfileName
from okml.settings import Frozen

RECORDED = PROFILE_NAMES[1:]  # the scales whose runs are committed


class ClaimRow(Frozen):
    """One claim with its verdict at every profile."""

    claim: Claim
    verdicts: dict[ProfileName, Verdict]

    @property
    def best(self) -> Verdict:
        """The verdict of the largest scale that was run."""
        return self.best_of(PROFILE_NAMES)

    def best_of(self, profiles: Sequence[ProfileName]) -> Verdict:
        """Return the verdict of the last of ``profiles`` that was run, or of the last one."""
        for name in reversed(profiles):
            if self.verdicts[name].outcome is not Outcome.NOT_RUN:
                return self.verdicts[name]
        return self.verdicts[profiles[-1]]


def chapter_rows(chapter: str) -> list[ClaimRow]:
    """Return the claims of one chapter with their verdicts, in the order of the digest."""
    records = {name: load_record(chapter, name) for name in PROFILE_NAMES}
    return [
        ClaimRow(
            claim=claim, verdicts={name: judge(claim, records[name]) for name in PROFILE_NAMES}
        )
        for claim in load_claims(chapter)
    ]


def format_estimate(estimate: Estimate | None, digits: int | None = None) -> str:
    """Write an estimate: ``0.412 [0.398, 0.426]`` with its interval, an em dash for none.

    A bare number of several seeds has its standard deviation instead: ``0.412 ± 0.008``. Without
    a number of decimals, an estimate has three significant digits.
    """
    if estimate is None:
        return "—"
    if estimate.undefined:
        return "undefined"
    digits = _digits(estimate) if digits is None else digits
    value = f"{estimate.mean:,.{digits}f}"
    if estimate.low is not None and estimate.high is not None:
        return f"{value} [{estimate.low:,.{digits}f}, {estimate.high:,.{digits}f}]"
    return value if estimate.sd is None else f"{value} ± {estimate.sd:,.{digits}f}"


def _digits(estimate: Estimate) -> int:
    """Return how many decimals show three significant digits of the mean, at most three."""
    alone = len(estimate.values) == 1 and estimate.low is None
    if alone and float(estimate.mean).is_integer():
        return 0
    size = abs(estimate.mean)
    return 3 if size < 10 else max(0, 3 - math.floor(math.log10(size)))
