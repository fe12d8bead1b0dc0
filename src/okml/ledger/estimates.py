"""Estimates: measured values by seed, with their confidence intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Final, Self

from pydantic import Field, model_validator

from okml.settings import Frozen

ALL_SEEDS: Final = "all"  # the key of a value that does not depend on the seed


class Estimate(Frozen):
    """One measured quantity with its 95 % interval.

    The functions of :mod:`okml.ledger.intervals` make estimates that can decide a claim. One
    without an interval is a bare number, which decides nothing unless it is exact.
    """

    values: dict[str, float | None] = Field(min_length=1)  # seed: value; null: undefined (NaN)
    unit: str = ""  # the unit of the values, such as "km"
    low: float | None = None  # lower end of the interval of the mean over seeds
    high: float | None = None  # its upper end
    n: int = Field(default=0, ge=0)  # number of independent units sampled; 0: only seeds
    over: str = ""  # the name of the units, such as "users"
    estimator: str = ""  # the method of the interval; empty: there is none
    exact: bool = False  # whether it is arithmetic, without sampling error

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        known = [value for value in self.values.values() if value is not None]
        ends = [end for end in (self.low, self.high) if end is not None]
        if not all(map(math.isfinite, [*known, *ends])):
            raise ValueError("a value or an end of the interval is not finite")
        if len(ends) == 1 or (len(ends) == 2 and ends[0] > ends[1]):
            raise ValueError("an interval has two ends, the lower one first")
        if self.exact and (ends or list(self.values) != [ALL_SEEDS]):
            raise ValueError("an exact value has no interval and no seeds")
        return self

    @property
    def numbers(self) -> list[float]:
        """The values of the seeds, NaN where one is undefined."""
        return [math.nan if value is None else value for value in self.values.values()]

    @property
    def mean(self) -> float:
        """The mean over seeds; NaN if the value of a seed is undefined."""
        return statistics.fmean(self.numbers)

    @property
    def sd(self) -> float | None:
        """The sample standard deviation over seeds; None for a single value."""
        return statistics.stdev(self.numbers) if len(self.values) > 1 else None

    @property
    def seeds(self) -> int:
        """The number of seeds; 0 if the value does not depend on the seed."""
        return 0 if list(self.values) == [ALL_SEEDS] else len(self.values)

    @property
    def undefined(self) -> bool:
        """Whether the run could not define the value of a seed."""
        return None in self.values.values()

    @property
    def interval(self) -> tuple[float, float] | None:
        """The confidence interval; for an exact value, that value twice.

        It is None where the value of a seed is undefined, for a bare number, and for an interval
        without an estimator, as in records of the first schema: such an interval ignores the
        variance over seeds.
        """
        if self.undefined:
            return None
        if self.exact:
            return (self.mean, self.mean)
        if not self.estimator or self.low is None or self.high is None:
            return None
        return (self.low, self.high)

    def above(self, value: float) -> bool:
        """Tell whether the whole interval lies above a value; False without an interval."""
        return self.interval is not None and self.interval[0] > value

    def shifted(self, offset: float) -> Self:
        """Return the estimate with a constant added."""
        return self._moved(lambda value: value + offset)

    def divided(self, by: float) -> Self:
        """Return the estimate divided by a positive constant."""
        return self._moved(lambda value: value / by)

    def _moved(self, change: Callable[[float], float]) -> Self:
        def moved(value: float | None) -> float | None:
            return None if value is None else change(value)

        values = {seed: moved(value) for seed, value in self.values.items()}
        changes = {"values": values, "low": moved(self.low), "high": moved(self.high)}
        return self.model_copy(update=changes)


def bare(value: float, seed: int | None = None, unit: str = "") -> Estimate:
    """Return a number without an interval.

    Args:
        value: The number; NaN is kept as undefined.
        seed: The seed that it was measured with; None if it does not depend on the seed.
        unit: The unit of the number; empty if it has none.
    """
    key = ALL_SEEDS if seed is None else str(seed)
    return Estimate(values={key: None if math.isnan(value) else float(value)}, unit=unit)


def exact(value: float) -> Estimate:
    """Return a value without sampling error: a count, a closed form or a share of all units."""
    return Estimate(values={ALL_SEEDS: float(value)}, exact=True)
