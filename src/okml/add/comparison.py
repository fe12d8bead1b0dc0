"""Numbers of an image set that compare methods, with intervals over requests and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from okml.add.arms import seeds_of
from okml.add.convergence import still_falling_in_any
from okml.add.profile_settings import AddProfile, SetSettings
from okml.add.workbench import Workbench
from okml.ledger import Estimate, Measurements, estimate_left_out, estimate_mean, left_out

Floats = NDArray[np.float64]
Values = Callable[[int], Floats]  # values as a function of the seed
Drawn = tuple[str, int]  # the method that draws, and its number of steps
OVER = "blocks"  # blocks of requests, see Workbench.blocks


class Jackknife:
    """The leave-one-group-out jackknife of measures of methods on the same requests.

    Each value is a list ``[1 + groups]``: the measure of all samples, then without each group of
    blocks of requests, the same groups for all methods. So what compares methods is computed
    element by element.
    """

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.kind = prefix(bench.profile, bench.settings)
        blocks = bench.blocks  # one for all seeds: their requests differ in the noise alone
        self.kept, self.count = left_out(len(blocks), OVER, clusters=blocks)

    @cache  # noqa: B019 - a comparison lives as long as its step
    def _fd(self, drawn: Drawn, seed: int) -> Floats:
        features, judge = self.bench.judged(*drawn, seed).features, self.bench.judge
        return np.array([judge.distance(features[rows]) for rows in self.kept])

    def fd(self, drawn: Drawn) -> Values:
        """Return the Fréchet distance."""
        return lambda seed: self._fd(drawn, seed)

    def ratio(self, above: Drawn, below: Drawn) -> Values:
        """Return the ratio of two Fréchet distances."""
        return lambda seed: self._fd(above, seed) / self._fd(below, seed)

    def spread_ratio(self, above: Drawn, below: Drawn) -> Values:
        """Return the ratio of two spreads within a caption."""
        return lambda seed: self._mean("spread", above, seed) / self._mean("spread", below, seed)

    def alignment_gain(self, above: Drawn, below: Drawn) -> Values:
        """Return the difference of two alignments with the captions."""
        return lambda seed: self._mean("aligned", above, seed) - self._mean("aligned", below, seed)

    def _mean(self, part: Literal["spread", "aligned"], drawn: Drawn, seed: int) -> Floats:
        parts: Floats = getattr(self.bench.judged(*drawn, seed), part)
        return np.array([parts[rows].mean() for rows in self.kept])

    def told_apart(self, drawn: Drawn) -> Estimate:
        """Estimate how often samples of a method are told from unseen images."""
        bench = self.bench
        answers = {seed: bench.judged(*drawn, seed).told_apart for seed in self.seeds(drawn[0])}
        # A sample and an unseen image are a unit: neighbors of each other are told alike.
        count = len(next(iter(answers.values()))) // 2
        return estimate_mean(answers, OVER, clusters=np.tile(bench.blocks[:count], 2))

    def seeds(self, *methods: str) -> tuple[int, ...]:
        """Return the seeds that all these methods run with on this set."""
        profile, settings = self.bench.profile, self.bench.settings
        runs = [seeds_of(profile, settings, method) for method in methods]
        return tuple(
            seed for seed in profile.seeds_of(settings) if all(seed in own for own in runs)
        )

    def measure(
        self,
        result: Measurements,
        metric: str,
        of: Values,
        *methods: str,
        control: tuple[str, Values] | None = None,
        prefixed: bool = True,
    ) -> None:
        """Measure a number, and its control beside it, if all methods run on this set.

        Args:
            result: The result of the step, which keeps the number.
            metric: The name of the metric without the prefix of the image set.
            of: A function that computes the number for a seed.
            methods: The methods that the number compares.
            control: The name of the control and the function that computes it.
            prefixed: Whether the prefix of the image set is part of the name.
        """
        if not (seeds := self.seeds(*methods)):
            return
        name = self.kind * prefixed + metric
        values = {seed: of(seed) for seed in seeds}
        result.measure(name, self._estimate(values))
        if control is not None:
            other, others = (
                self.kind * prefixed + control[0],
                {seed: control[1](seed) for seed in seeds},
            )
            result.measure(other, self._estimate(others))
            differences = {seed: values[seed] - others[seed] for seed in seeds}
            result.compare(name, other, self._estimate(differences))

    def check_trainings(
        self,
        result: Measurements,
        ending: str,
        *methods: str,
        steps: Sequence[int] = (1,),
        prefixed: bool = True,
    ) -> None:
        """Count what makes a comparison of trainings unfair, if all methods run on this set.

        ``falling_...`` is the number of students that still came nearer to real images when a round
        of their training ended, ``unbracketed_...`` the number of methods whose learning rate is
        not known to be the best: it was not chosen, or others beyond those tried may be better.

        Args:
            result: The result of the step, which keeps the numbers.
            ending: The end of the names of both metrics.
            methods: The methods that are compared, each of which is trained.
            steps: The numbers of steps at which they are compared.
            prefixed: Whether the prefix of the image set is part of the names.
        """
        if not self.seeds(*methods):
            return
        falling = sum(
            still_falling_in_any(
                [self.bench.student(method, seed, own).rounds for seed in self.seeds(method)]
            )
            for method in methods
            for own in self._students(method, steps)
        )
        unbracketed = sum(not self.bench.bracketed(method) for method in methods)
        for name, count in (("falling", falling), ("unbracketed", unbracketed)):
            result.log(f"{self.kind * prefixed}{name}_{ending}", count, exact=True)

    def _students(self, method: str, steps: Sequence[int]) -> Sequence[int]:
        """Return the numbers of steps of the students with which a method is compared."""
        own = self.bench.settings.progressive.students
        return [count for count in steps if count in own] if method == "progressive" else (1,)

    def _estimate(self, values: dict[int, Floats]) -> Estimate:
        return estimate_left_out(values, self.count, OVER, clustered=True)


def least(*several: Values) -> Values:
    """Return the least of several numbers."""
    return lambda seed: np.min([of(seed) for of in several], axis=0)  # type: ignore[return-value]


def most(*several: Values) -> Values:
    """Return the largest of several numbers."""
    return lambda seed: np.max([of(seed) for of in several], axis=0)  # type: ignore[return-value]


def prefix(profile: AddProfile, settings: SetSettings) -> str:
    """Return the prefix of the names of metrics of an image set.

    Those of the first set begin with nothing, unless published models decide the claims.
    """
    if settings != profile.main:
        return f"{settings.images}_"
    return "small_" if profile.published.rows else ""
