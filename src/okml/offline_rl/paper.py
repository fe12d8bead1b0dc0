"""The paper's table: its columns, and the values in ``paper_results.yml``."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml

from okml.errors import RecordError
from okml.offline_rl.settings import ArmName

COLUMNS: dict[ArmName, str] = {
    "sasrec_bce": "SASRec",
    "caser_bce": "Caser",
    "transformer_only": "Transformer-only",
    "crr_only": "CRR-only",
    "crr": "CRR-Transformer",
}


def paper_value(log: str, metric: str, column: str) -> float | None:
    """Return a cell of the paper's table, or None if it is not known.

    Raises:
        RecordError: If the file names an unknown column, or a value is not a number.
    """
    row = _values().get(log, {}).get(metric, {})
    if unknown := set(row) - set(COLUMNS.values()):
        raise RecordError(
            f"paper_results.yml has the columns {', '.join(sorted(unknown))}.",
            f"Known: {', '.join(COLUMNS.values())}.",
        )
    value = row.get(column)
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise RecordError(f"paper_results.yml: {log} {metric} {column} is {value!r}, no number.")
    return float(value)


@cache
def _values() -> dict[str, Any]:
    text = (resources.files("okml.offline_rl") / "paper_results.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text) or {}
