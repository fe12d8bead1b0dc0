"""The ledger as rows, a claim with its verdict at each scale, and as one table for the README."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from okml.errors import RecordError
from okml.ledger.claims import Claim, load_claims
from okml.ledger.estimates import Estimate
from okml.ledger.records import load_record
from okml.ledger.verdicts import Outcome, Verdict, judge
from okml.paths import atomic_write
from okml.profile import PROFILE_NAMES, ProfileName
from okml.settings import Frozen

RECORDED = PROFILE_NAMES[1:]  # the scales whose runs are committed
BEGIN, END = "<!-- ledger: rendered by `okml report --into` -->", "<!-- end of the ledger -->"


class ClaimRow(Frozen):
    """One claim with its verdict at every profile."""

    claim: Claim
    verdicts: dict[ProfileName, Verdict]

    @property
    def best(self) -> Verdict:
        """The verdict of the largest scale that was run."""
        return self.best_of(PROFILE_NAMES)

    def best_of(self, profiles: Sequence[ProfileName]) -> Verdict:
        """Return the verdict of the last of ``profiles`` that was run, or of the last one."""
        for name in reversed(profiles):
            if self.verdicts[name].outcome is not Outcome.NOT_RUN:
                return self.verdicts[name]
        return self.verdicts[profiles[-1]]


def chapter_rows(chapter: str) -> list[ClaimRow]:
    """Return the claims of one chapter with their verdicts, in the order of the digest."""
    records = {name: load_record(chapter, name) for name in PROFILE_NAMES}
    return [
        ClaimRow(
            claim=claim, verdicts={name: judge(claim, records[name]) for name in PROFILE_NAMES}
        )
        for claim in load_claims(chapter)
    ]


def format_estimate(estimate: Estimate | None, digits: int | None = None) -> str:
    """Write an estimate: ``0.412 [0.398, 0.426]`` with its interval, an em dash for none.

    A bare number of several seeds has its standard deviation instead: ``0.412 ± 0.008``.

    Args:
        estimate: The estimate, or None if nothing was measured.
        digits: The number of decimals; None for three significant digits.
    """
    if estimate is None:
        return "—"
    if estimate.undefined:
        return "undefined"
    digits = _digits(estimate) if digits is None else digits
    value = f"{estimate.mean:,.{digits}f}"
    if estimate.low is not None and estimate.high is not None:
        return f"{value} [{estimate.low:,.{digits}f}, {estimate.high:,.{digits}f}]"
    return value if estimate.sd is None else f"{value} ± {estimate.sd:,.{digits}f}"


def _digits(estimate: Estimate) -> int:
    """Return how many decimals show three significant digits of the mean, at most three."""
    alone = len(estimate.values) == 1 and estimate.low is None
    if alone and float(estimate.mean).is_integer():
        return 0
    size = abs(estimate.mean)
    return 3 if size < 10 else max(0, 3 - math.floor(math.log10(size)))


def summary_table(chapters: list[str]) -> str:
    """Return the number of claims of each chapter by outcome, as a Markdown table with sums."""
    counted = {
        name: Counter(row.best_of(RECORDED).outcome for row in chapter_rows(name))
        for name in chapters
    }
    counted["all"] = sum(counted.values(), Counter())
    header = ("claims of", *(outcome.value for outcome in Outcome))
    lines = [header, ("---", *("--:" for _ in Outcome))]
    for name, found in counted.items():
        label = name if name == "all" else f"`{name}`"
        lines.append((label, *(str(found[outcome] or "") for outcome in Outcome)))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def put_summary(path: Path, chapters: list[str]) -> None:
    """Replace the content between the two marks of a text file by the table.

    Raises:
        RecordError: If the file cannot be read, or does not have both marks, in order.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read: {error}.") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RecordError(
            f"{path} has no place for the ledger.", f"Add the lines {BEGIN} and {END}."
        )
    with atomic_write(path) as handle:
        handle.write(f"{before}{BEGIN}\n{summary_table(chapters)}\n{END}{after}")
