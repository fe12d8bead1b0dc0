"""The choice of a learning rate: more are tried until the best lies between two that do worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

UNMOVED = 0.03  # share of its value within which a training changed nothing


@dataclass(frozen=True)
class TriedRates:
    """The learning rates of several trainings, and what they reached.

    Attributes:
        values: What is to be large, such as NDCG@10 on validation, by the factor on the rate; a
            distance, which is to be small, is negated.
        untrained: The value before the training, which is that of a rate of zero.
    """

    values: Mapping[float, float]
    untrained: float

    @property
    def best(self) -> float:
        """The rate with the largest value, of equal ones the smallest."""
        return max(sorted(self.values), key=self.values.__getitem__)

    @property
    def beyond(self) -> float | None:
        """The rate to try beyond the end at which the best one lies; None if it lies at none.

        At the lower end nothing is left to try once a training changes little: all smaller rates
        change less.
        """
        ordered = sorted(self.values)
        if len(ordered) == 1:
            return None
        if self.best == ordered[-1]:
            return self.best**2 / ordered[-2]
        moved = abs(self.values[ordered[0]] - self.untrained) > UNMOVED * abs(self.untrained)
        if self.best == ordered[0] and moved:
            return self.best**2 / ordered[1]
        return None

    @property
    def bracketed(self) -> bool:
        """Whether several were tried, and no rate beyond their ends may be better."""
        return len(self.values) > 1 and self.beyond is None


def search(
    rates: Sequence[float], further: int, value: Callable[[float], float], untrained: float
) -> TriedRates:
    """Try rates, and others beyond an end as long as the best one lies there.

    Args:
        rates: The factors on the learning rate that are tried in any case.
        further: The largest number of others; each is as far from its neighbor as that is from the
            next.
        value: A function that trains at a rate and returns the value reached.
        untrained: The value before the training.
    """
    tried = TriedRates({rate: value(rate) for rate in rates}, untrained)
    for _ in range(further):
        if tried.beyond is None:
            break
        rate = tried.beyond
        tried = TriedRates({**tried.values, rate: value(rate)}, untrained)
    return tried
