"""The choice of a learning rate: more are tried until the best lies between two that do worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

UNMOVED = 0.03  # share of its distance within which a student counts as untrained


@dataclass(frozen=True)
class Tried:
    """The rates that a way of distilling tried.

    Attributes:
        distances: The distance that a student of each rate reached, by the factor on the rate.
        untrained: The distance of the student before its training, which is that of a rate of zero.
    """

    distances: Mapping[float, float]
    untrained: float

    @property
    def best(self) -> float:
        """The rate with the lowest distance, of equal ones the smallest."""
        return min(sorted(self.distances), key=self.distances.__getitem__)

    @property
    def beyond(self) -> float | None:
        """The rate to try beyond the end at which the best one lies; None if it lies at none.

        At the lower end nothing is left to try once a student hardly moves: all smaller rates leave
        it untrained.
        """
        ordered = sorted(self.distances)
        if len(ordered) == 1:
            return None
        if self.best == ordered[-1]:
            return self.best**2 / ordered[-2]
        moved = abs(self.distances[ordered[0]] - self.untrained) > UNMOVED * self.untrained
        if self.best == ordered[0] and moved:
            return self.best**2 / ordered[1]
        return None

    @property
    def bracketed(self) -> bool:
        """Whether several were tried, and no rate beyond their ends may be better."""
        return len(self.distances) > 1 and self.beyond is None


def search(
    rates: Sequence[float], further: int, distance: Callable[[float], float], untrained: float
) -> Tried:
    """Try rates, and others beyond an end as long as the best one lies there.

    Args:
        rates: The factors on the learning rate that are tried in any case.
        further: The largest number of others; each is as far from its neighbor as that is from the
            next.
        distance: A function that trains at a rate and returns the distance reached.
        untrained: The distance of the student before its training.
    """
    tried = Tried({rate: distance(rate) for rate in rates}, untrained)
    for _ in range(further):
        if tried.beyond is None:
            break
        rate = tried.beyond
        tried = Tried({**tried.distances, rate: distance(rate)}, untrained)
    return tried
