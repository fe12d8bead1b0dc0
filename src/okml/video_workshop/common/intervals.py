"""An estimate as columns of a table."""

from __future__ import annotations

from okml.ledger import Estimate


def interval(estimate: Estimate, name: str = "difference") -> dict[str, float | None]:
    """Return an estimate and its interval as the columns ``name``, ``low`` and ``high``."""
    return {name: estimate.mean, "low": estimate.low, "high": estimate.high}
