"""What keeps a claim undecided, and the sample that would decide it.

The squared half width of an interval has two parts, which a record tells apart; see
:mod:`okml.ledger.intervals`. The part of S seeds is t²(S - 1) · sd²/S, where sd is their standard
deviation. The rest is the part of n units, which falls with 1/n.
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
MOST = 10_000  # largest number of seeds that is considered


class SampleSize(NamedTuple):
    """The size of a sample."""

    n: int  # number of units; 0 if there are only seeds
    seeds: int  # number of seeds; 0 if the value does not depend on the seed


class OpenComparison(NamedTuple):
    """A comparison that an interval leaves open."""

    number: Estimate  # a metric, or its paired difference from the control
    against: Against  # what it is compared with: the claim's bar, or the control's margin
    clears: bool  # whether its mean clears the bar or margin
    end: End  # the end of the interval that the bar or margin separates from the mean
    by: float  # distance of that end from the bar or margin, in the unit of the number
    # The least sample, approximately, whose whole interval would lie on the side of the mean, if
    # mean and spread stayed the same.
    needed: SampleSize


def open_comparisons(claim: Claim, record: RunRecord) -> list[OpenComparison]:
    """Return the comparisons that keep a claim undecided; none if anything else does.

    A comparison is left out if the mean is not the middle of its interval, which is then not
    Student's, or if fewer than ``MOST`` seeds would not decide it.
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
        needed = _needed_sample(number, half, apart)
        if needed is not None and math.isclose(high - mean, half, rel_tol=1e-6):
            end: End = "lower" if edge < mean else "upper"
            found.append(
                OpenComparison(number, against, bar.allows(mean), end, half - apart, needed)
            )
    return found


def _needed_sample(number: Estimate, half: float, wanted: float) -> SampleSize | None:
    """Return the cheapest sample whose interval would have less than a wanted half width.

    It has more seeds and the same units, or more of both in proportion. The cost of a sample is its
    seeds times its units. With one seed or none, the interval is that of the units alone, and more
    units are added.

    Args:
        number: The measured number.
        half: Half the width of its interval.
        wanted: The half width that the new interval must stay below.

    Returns:
        The size of the sample; None if it has ``MOST`` seeds or more, or if no sample would do.
    """
    if wanted == 0 or (number.sd is None and number.n == 0):
        return None
    if number.sd is None:
        return SampleSize(math.floor(number.n * (half / wanted) ** 2) + 1, number.seeds)
    seeds = np.arange(number.seeds, MOST)
    growth = seeds / number.seeds
    # The parts of the squared half width, by the number of seeds.
    of_seeds = stats.t.ppf((1 + LEVEL) / 2, seeds - 1) ** 2 * number.sd**2 / seeds
    of_units = max(0.0, half**2 - of_seeds[0])
    more_seeds = growth[of_seeds + of_units < wanted**2]
    more_of_both = growth[of_seeds + of_units / growth < wanted**2]
    if not more_of_both.size:
        return None
    if more_seeds.size and more_seeds[0] <= more_of_both[0] ** 2:
        return SampleSize(number.n, round(number.seeds * more_seeds[0]))
    more = more_of_both[0]
    return SampleSize(math.ceil(number.n * more), round(number.seeds * more))
