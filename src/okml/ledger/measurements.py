"""What a step or a run measured, under the names that claims refer to."""

from __future__ import annotations

from dataclasses import dataclass, field

from okml.errors import RecordError
from okml.ledger.claims import Stood
from okml.ledger.estimates import Estimate, bare, exact


@dataclass
class Measurements:
    """Estimates by name, and paired differences by metric and control.

    Attributes:
        metrics: By name.
        differences: By name of the metric, then of its control: the metric less the control.
        started: When the run began that measured first, UTC; empty: not known yet.
        claims: By id, the claims about these metrics as they stood then.
    """

    metrics: dict[str, Estimate] = field(default_factory=dict)
    differences: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    started: str = ""
    claims: dict[str, Stood] = field(default_factory=dict)

    def measure(self, name: str, estimate: Estimate, unit: str = "") -> None:
        """Keep a metric that may decide a claim.

        Args:
            name: What claims call it.
            estimate: From :mod:`okml.ledger.intervals`, or an exact value.
            unit: Shown beside the number.

        Raises:
            RecordError: If the name is taken.
        """
        if name in self.metrics:
            raise RecordError(f"The run records {name!r} twice.")
        self.metrics[name] = estimate.model_copy(update={"unit": unit or estimate.unit})

    def compare(self, name: str, control: str, difference: Estimate) -> None:
        """Keep the paired difference of a metric and its control.

        Args:
            name: The metric.
            control: The metric it is compared with, as the claim names it.
            difference: Of the metric less the control, on the same units and seeds.

        Raises:
            RecordError: If the two were compared before.
        """
        if control in self.differences.setdefault(name, {}):
            raise RecordError(f"The run compares {name!r} with {control!r} twice.")
        self.differences[name][control] = difference

    def log(
        self,
        name: str,
        value: float,
        *,
        seed: int | None = None,
        unit: str = "",
        exact: bool = False,
    ) -> None:
        """Keep a bare number, which decides no claim unless it is exact.

        Args:
            name: What tables and pages call it.
            value: The number; NaN is kept as undefined.
            seed: The seed it belongs to; None when no seed changes it.
            unit: Shown beside the number.
            exact: Whether it is arithmetic that no sample and no seed can change.

        Raises:
            RecordError: If the same number was kept before.
        """
        made = _exact(value, unit) if exact else bare(value, seed, unit)
        self._join(name, made)

    def take(self, other: Measurements) -> None:
        """Add what another step or part measured; bare numbers of other seeds join.

        Its claims come along: they stood when it was measured, perhaps before this run began.

        Raises:
            RecordError: If both measured the same.
        """
        self.started = min(filter(None, (self.started, other.started)), default="")
        self.claims |= other.claims_measured()
        for name, estimate in other.metrics.items():
            self._join(name, estimate)
        for name, controls in other.differences.items():
            for control, difference in controls.items():
                self.compare(name, control, difference)

    def claims_measured(self) -> dict[str, Stood]:
        """Return those claims whose metric is here."""
        return {name: stood for name, stood in self.claims.items() if stood.metric in self.metrics}

    def values(self, name: str) -> list[float]:
        """Return what was measured under a name, a value a seed.

        Raises:
            RecordError: If nothing was.
        """
        if name not in self.metrics:
            raise RecordError(f"This step measured no {name!r}.")
        return self.metrics[name].numbers

    def _join(self, name: str, added: Estimate) -> None:
        known = self.metrics.get(name)
        if known is None:
            self.metrics[name] = added
            return
        if both := sorted(set(known.values) & set(added.values)):
            raise RecordError(f"The run records {name!r} twice for seed {', '.join(both)}.")
        if known.estimator or added.estimator or known.exact or added.exact:
            raise RecordError(f"The run records {name!r} twice.")
        self.metrics[name] = known.model_copy(update={"values": {**known.values, **added.values}})


def _exact(value: float, unit: str) -> Estimate:
    return exact(value).model_copy(update={"unit": unit})
