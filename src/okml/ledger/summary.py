"""The ledger in one table, for the README; rendered from the recorded runs like everything else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from okml.errors import RecordError
from okml.ledger.report import Row, chapter_rows
from okml.ledger.verdicts import Outcome
from okml.paths import atomic_write
from okml.profile import ProfileName

RECORDED: tuple[ProfileName, ...] = ("gpu", "cpu")  # scales whose runs are committed, largest first
BEGIN, END = "<!-- ledger: rendered by `okml report --into` -->", "<!-- end of the ledger -->"


def summary_table(chapters: list[str]) -> str:
    """Return how many claims of each chapter ended how, as a Markdown table with a row of sums."""
    counted = {name: Counter(map(recorded_outcome, chapter_rows(name))) for name in chapters}
    counted["all"] = sum(counted.values(), Counter())
    header = ("claims of", *(outcome.value for outcome in Outcome))
    lines = [header, ("---", *("--:" for _ in Outcome))]
    for name, found in counted.items():
        label = name if name == "all" else f"`{name}`"
        lines.append((label, *(str(found[outcome] or "") for outcome in Outcome)))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def recorded_outcome(row: Row) -> Outcome:
    """Return how a claim ended at the largest scale that has a committed record."""
    outcomes = [row.verdicts[name].outcome for name in RECORDED]
    return next((found for found in outcomes if found is not Outcome.NOT_RUN), outcomes[0])


def put_summary(path: Path, chapters: list[str]) -> None:
    """Write the table between the two marks of a text file, in place of what is there.

    Raises:
        RecordError: If the file does not have both marks, in order.
    """
    text = path.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RecordError(
            f"{path} has no place for the ledger.", f"Add the lines {BEGIN} and {END}."
        )
    with atomic_write(path) as handle:
        handle.write(f"{before}{BEGIN}\n{summary_table(chapters)}\n{END}{after}")
