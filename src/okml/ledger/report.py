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
TINY = 1e-12  # a number nearer to zero is a rounding error of zero


class ClaimRow(Frozen):
    """One claim with its verdict at every profile."""

    claim: Claim
    verdicts: dict[ProfileName, Verdict]

    @property
    def best(self) -> Verdict:
        """The verdict of the largest scale that was run."""
        return self.best_of(PROFILE_NAMES)

    def best_of(self, profiles: Sequence[ProfileName]) -> Verdict:
        """Return the verdict of the largest of some profiles that was run.

        Args:
            profiles: The profiles from the smallest to the largest. If none was run, the verdict is
                that of the last one: *not run here*.
        """
        for name in reversed(profiles):
            if self.verdicts[name].outcome is not Outcome.NOT_RUN:
                return self.verdicts[name]
        return self.verdicts[profiles[-1]]


def chapter_rows(chapter: str) -> list[ClaimRow]:
    """Return the claims of one chapter with their verdicts, in the order of the digest.

    Raises:
        RecordError: If the claims or a record cannot be read.
    """
    records = {name: load_record(chapter, name) for name in PROFILE_NAMES}
    return [
        ClaimRow(
            claim=claim, verdicts={name: judge(claim, records[name]) for name in PROFILE_NAMES}
        )
        for claim in load_claims(chapter)
    ]


def format_estimate(estimate: Estimate | None, digits: int | None = None) -> str:
    """Write an estimate with its interval: ``0.412 [0.398, 0.426]``.

    A bare number of several seeds has its standard deviation instead: ``0.412 ± 0.008``.

    Args:
        estimate: The estimate; None is written as an em dash.
        digits: The number of decimals. With None, an estimate has three decimals below 10 and one
            less for each further digit before the point; it has more where the interval is so
            narrow, or lies so near to zero, that these would not show it. A single whole number
            without an interval has none.
    """
    if estimate is None:
        return "—"
    if estimate.undefined:
        return "undefined"
    spec = f"z,.{_decimals(estimate) if digits is None else digits}f"  # z: no minus before a zero
    value = f"{estimate.mean:{spec}}"
    if estimate.low is not None and estimate.high is not None:
        return f"{value} [{estimate.low:{spec}}, {estimate.high:{spec}}]"
    return value if estimate.sd is None else f"{value} ± {estimate.sd:{spec}}"


def _decimals(estimate: Estimate) -> int:
    """Return the number of decimals of an estimate.

    A single whole number without an interval has none. Otherwise there are three below 10, and one
    less for each further digit before the point. There are more where the mean, the width of the
    interval or an end of it is less than one unit of the last decimal: enough for two digits of
    the width and one of each of the others. A mean or an end below a hundredth of the width counts
    as that hundredth.
    """
    size = abs(estimate.mean)
    if estimate.low is not None and estimate.high is not None:
        width = estimate.high - estimate.low
        ends = [abs(estimate.low), abs(estimate.high)]
    elif estimate.sd is not None:
        width, ends = estimate.sd, []
    elif size.is_integer():
        return 0
    else:
        width, ends = size, []
    usual = 3 if size < 10 else max(0, 3 - math.floor(math.log10(size)))
    written = [each for each in (size, width, *ends) if each > TINY]
    least = min((max(each, width / 100) for each in written), default=1.0)
    if least >= 10.0**-usual:
        return usual
    one_digit_of_least = -math.floor(math.log10(least))
    two_digits_of_width = 1 - math.floor(math.log10(max(width, least)))
    return max(one_digit_of_least, two_digits_of_width)
