"""Tables for notebooks: real HTML tables with a caption, readable in light and dark mode."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from scipy import stats

from okml.ledger import Estimate, RunRecord, format_estimate, judge, load_claims

NUMBER = "text-align: right; font-variant-numeric: tabular-nums"


@dataclass(eq=False)
class Table:
    """A frame as a captioned table."""

    frame: pl.DataFrame
    caption: str
    # Decimals of floating-point numbers below ten. A column of larger numbers has fewer, and a
    # column of whole numbers above 1 (counts, years) none.
    digits: int = 3
    # The columns with the ends of an interval, by the column with its value. They are shown behind
    # the value: ``0.12 [0.10, 0.14]``. A record may have no such column.
    intervals: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        columns = self.frame.columns
        ends = {end for name in self.intervals.keys() & columns for end in self.intervals[name]}
        shown = {name: self._digits(self.frame[name]) for name in columns if name not in ends}
        styles = {
            name: f' style="{NUMBER}"' if self.frame.schema[name].is_numeric() else ""
            for name in shown
        }
        head = "".join(
            f'<th scope="col"{styles[name]}>{html.escape(name.replace("_", " "))}</th>'
            for name in shown
        )
        body = "".join(
            "<tr>"
            + "".join(
                f"<td{styles[name]}>{html.escape(_cell(row[name], digits))}"
                f"{self._interval(row, name, digits)}</td>"
                for name, digits in shown.items()
            )
            + "</tr>"
            for row in self.frame.iter_rows(named=True)
        )
        return (
            f'<table class="okml-table"><caption>{html.escape(self.caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def __repr__(self) -> str:
        return f"{self.caption}\n{self.frame}"

    def _interval(self, row: Mapping[str, Any], name: str, digits: int) -> str:
        if name not in self.intervals:
            return ""
        low, high = (row[end] for end in self.intervals[name])
        if low is None or low != low:
            return ""
        ends = f"[{_cell(low, digits)}, {_cell(high, digits)}]"
        return f' <span class="okml-nowrap">{ends}</span>'

    def _digits(self, column: pl.Series) -> int:
        if not column.dtype.is_float():
            return 0
        sizes = [abs(value) for value in column if value and math.isfinite(value)]
        if not sizes:
            return self.digits
        if max(sizes) > 1 and all(size == round(size) for size in sizes):
            return 0
        before_the_point = len(str(int(min(sizes))))
        return max(0, self.digits + 1 - before_the_point)


def _cell(value: Any, digits: int) -> str:
    if value is None or value != value:
        return "—"
    if isinstance(value, float):
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def settings_table(settings: Mapping[str, Any], names: Sequence[str], caption: str) -> Table:
    """Return the named fields of a profile with their values."""
    rows = [(name, str(settings[name])) for name in names]
    return Table(pl.DataFrame(rows, schema=["setting", "value"], orient="row"), caption)


def decision_table(record: RunRecord, claim_id: str) -> Table:
    """Return the numbers that decide a claim, with the parts of their intervals and their bars.

    A row is the claim's metric, its difference from the control, or a condition without which
    nothing is decided. ``from seeds`` is the half width of the interval that the seeds alone would
    give, by Student's t; ``half width`` is that of the interval.
    """
    (claim,) = (each for each in load_claims(record.chapter) if each.id == claim_id)
    verdict = judge(claim, record)
    numbers: list[tuple[str, Estimate | None, str | None]] = [
        ("the claim's number", verdict.measured, claim.bar(record.profile))
    ]
    if claim.control is not None:
        numbers.append(("less the control", verdict.difference, claim.control.bar))
    numbers += [
        (f"condition: {each.metric}", record.metrics.get(each.metric), each.bar)
        for each in claim.conditions_at(record.profile)
    ]
    rows = [
        {"number": name, **_parts(estimate), "bar": bar or "—"} for name, estimate, bar in numbers
    ]
    return Table(
        pl.DataFrame(rows, schema_overrides=dict.fromkeys(_parts(None), pl.Float64)),
        f"How {claim_id} is decided at {record.profile}: {verdict.outcome.value}. From seeds: the "
        "half width that seeds alone would give; what the drawn units vary widens it.",
        intervals={"mean": ("low", "high")},
    )


def _parts(estimate: Estimate | None) -> dict[str, float | None]:
    """Return the mean of a number, its interval, and what seeds give to it; without one, blanks."""
    values = [] if estimate is None else estimate.numbers
    low, high = (estimate and estimate.interval) or (None, None)
    sd = pl.Series(values, dtype=pl.Float64).std()  # None of fewer than two
    from_seeds = None
    if isinstance(sd, float):
        from_seeds = float(stats.t.ppf(0.975, len(values) - 1)) * sd / len(values) ** 0.5
    return {
        "mean": None if estimate is None else estimate.mean,
        "low": low,
        "high": high,
        "sd over seeds": sd if isinstance(sd, float) else None,
        "from seeds": from_seeds,
        "half width": None if low is None or high is None else (high - low) / 2,
    }


def verdict_table(record: RunRecord, names: Collection[str] | None = None) -> Table:
    """Return a notebook's last table: each claim, the paper's value, ours, and the verdict.

    ``names`` are the ids of the claims without the chapter's name, where a notebook tests some.
    """
    claims = load_claims(record.chapter)
    if names is not None:
        claims = [claim for claim in claims if claim.id.partition(".")[2] in names]
    rows = []
    for claim in claims:
        verdict = judge(claim, record)
        rows.append(
            {
                "claim": claim.id,
                "paper": f"{claim.paper.value:g} {claim.paper.unit}" if claim.paper else "—",
                "bar": (verdict.profile and claim.bar(verdict.profile)) or "—",
                "got": format_estimate(verdict.measured),
                "less control": format_estimate(verdict.difference),
                "rests on": verdict.basis or "—",
                "verdict": verdict.outcome.value,
            }
        )
    return Table(
        pl.DataFrame(rows),
        f"Expected and got: profile {record.profile}, seeds {', '.join(map(str, record.seeds))}. "
        "In square brackets: 95 % intervals.",
    )
