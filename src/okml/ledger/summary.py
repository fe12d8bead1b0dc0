"""The ledger in one table, for the README; rendered from the recorded runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from okml.errors import RecordError
from okml.ledger.report import chapter_rows
from okml.ledger.verdicts import Outcome
from okml.paths import atomic_write
from okml.profile import PROFILE_NAMES

RECORDED = PROFILE_NAMES[1:]  # the scales whose runs are committed
BEGIN, END = "<!-- ledger: rendered by `okml report --into` -->", "<!-- end of the ledger -->"


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
