"""What keeps a claim undecided, and the sample that would decide it.

The square of half an interval has two parts, which a record tells apart; see
:mod:`okml.ledger.intervals`. That of S seeds is t²(S - 1) · sd²/S, with their standard deviation,
and the rest is that of n units, which falls with 1/n.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from okml.ledger.claims import Bar, Claim
from okml.ledger.estimates import Estimate
from okml.ledger.intervals import LEVEL
from okml.ledger.records import RunRecord
from okml.ledger.verdicts import Outcome, judge, unmet

Against = Literal["bar", "control"]
End = Literal["lower", "upper"]
MOST = 10_000  # seeds that are considered


class SampleSize(NamedTuple):
    """The size of a sample: its units, 0 if there are only seeds, and its seeds."""

    n: int
    seeds: int


class OpenComparison(NamedTuple):
    """A comparison that an interval leaves open."""

    number: Estimate  # a metric, or its paired difference from the control
    against: Against  # what it is compared with: the claim's bar, or the control's margin
    clears: bool  # whether its mean clears that
    end: End  # the end of the interval that lies on the other side than the mean
    by: float  # how far it lies there, in the unit of the number
    # About the least sample whose whole interval would lie on the side of the mean, if mean and
    # spread stayed the same.
    needed: SampleSize


def open_comparisons(claim: Claim, record: RunRecord) -> list[OpenComparison]:
    """Return the comparisons that keep a claim undecided; none if anything else does.

    Intervals that are not Student's, whose mean is not their middle, are left out.
    """
    verdict = judge(claim, record)
    conditions = claim.conditions_at(record.profile)
    if verdict.outcome is not Outcome.UNDECIDED or any(unmet(each, record) for each in conditions):
        return []
    compared: list[tuple[Against, str | None, Estimate | None]] = [
        ("bar", claim.bar(record.profile), verdict.measured)
    ]
    if claim.control is not None:
        compared.append(("control", claim.control.bar, verdict.difference))
    found = []
    for against, written, number in compared:
        if written is None or number is None or number.interval is None:
            return []
        bar, (low, high) = Bar.parse(written), number.interval
        if bar.allows_all((low, high)):
            continue
        mean, half = number.mean, (high - low) / 2
        edge = min((bar.low, bar.high), key=lambda each: abs(each - mean))
        apart = abs(edge - mean)
        needed = _needed(number, half, apart)
        if needed is not None and math.isclose(high - mean, half, rel_tol=1e-6):
            end: End = "lower" if edge < mean else "upper"
            found.append(
                OpenComparison(number, against, bar.allows(mean), end, half - apart, needed)
            )
    return found


def _needed(number: Estimate, half: float, wanted: float) -> SampleSize | None:
    """Return a sample for this half of an interval: of more seeds if they cost less, else of both.

    With one seed or none, the interval is of the units alone. None if no sample is in reach.
    """
    if wanted == 0 or (number.sd is None and number.n == 0):
        return None
    if number.sd is None:
        return SampleSize(math.floor(number.n * (half / wanted) ** 2) + 1, number.seeds)
    seeds = np.arange(number.seeds, MOST)
    of_seeds = stats.t.ppf((1 + LEVEL) / 2, seeds - 1) ** 2 * number.sd**2 / seeds
    of_units = max(0.0, half**2 - of_seeds[0])
    times = seeds / number.seeds
    alone = times[of_seeds + of_units < wanted**2]
    both = times[of_seeds + of_units / times < wanted**2]
    if not both.size:
        return None
    more_units = not alone.size or alone[0] > both[0] ** 2
    more = both[0] if more_units else alone[0]
    n = math.ceil(number.n * more) if more_units else number.n
    return SampleSize(n, round(number.seeds * more))
