"""The measurements of a step or a run, under the names that claims refer to."""

from __future__ import annotations

from dataclasses import dataclass, field

from okml.errors import RecordError
from okml.ledger.claims import Stood
from okml.ledger.estimates import Estimate, bare, exact


@dataclass
class Measurements:
    """Estimates by name, and paired differences by metric and control."""

    metrics: dict[str, Estimate] = field(default_factory=dict)
    # The metric less its control, by the name of the metric, then of the control.
    differences: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    # The start of the earliest run with a part in it, ISO 8601 in UTC; empty if unset.
    started: str = ""
    # The claims about these metrics as they stood at that time, by id.
    claims: dict[str, Stood] = field(default_factory=dict)

    def measure(self, name: str, estimate: Estimate, unit: str = "") -> None:
        """Keep a metric that may decide a claim.

        Args:
            name: The name that claims use.
            estimate: An estimate of :mod:`okml.ledger.intervals`, or an exact value.
            unit: The unit shown beside the number; empty if it is that of the estimate.

        Raises:
            RecordError: If the name is taken.
        """
        if name in self.metrics:
            raise RecordError(f"The run records {name!r} twice.")
        self.metrics[name] = estimate.model_copy(update={"unit": unit or estimate.unit})

    def compare(self, name: str, control: str, difference: Estimate) -> None:
        """Keep the paired difference of a metric and its control.

        Args:
            name: The metric's name.
            control: The name of the control metric, as in the claim.
            difference: The metric less the control, on the same units and seeds.

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
            name: The name that tables and pages use.
            value: The number; NaN is kept as undefined.
            seed: The seed that it was measured with; None if it does not depend on the seed.
            unit: The unit shown beside the number.
            exact: Whether it is arithmetic, without sampling error; it then has no seed.

        Raises:
            RecordError: If the same number was kept before.
        """
        made = _exact(value, unit) if exact else bare(value, seed, unit)
        self._join(name, made)

    def take(self, other: Measurements) -> None:
        """Add the measurements of another step or part; bare numbers of other seeds are merged.

        Its claims are added too, as they stood when it was measured, perhaps before this run.

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
        """Return the values measured under a name, one for each seed.

        Raises:
            RecordError: If there are none.
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
