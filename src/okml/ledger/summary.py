"""The summary of the ledger for the README: what was found, and the claims by outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from okml.errors import RecordError
from okml.ledger.findings import told_findings, written
from okml.ledger.quoting import plain
from okml.ledger.report import RECORDED, ClaimRow, chapter_rows
from okml.ledger.verdicts import Outcome
from okml.paths import atomic_write

BEGIN, END = "<!-- ledger: rendered by `okml report --into` -->", "<!-- end of the ledger -->"


def decided_findings(rows: Iterable[ClaimRow]) -> str:
    """Return the findings that a recorded run decides, as a Markdown list with their verdicts.

    Below each finding stands the verdict on its claim, since a finding may say the opposite of its
    claim. What the claim rests on, such as the model that was used, follows.

    Raises:
        RecordError: If a quoted number of what a claim rests on is not recorded.
    """
    best, notes = {}, {}
    for row in rows:
        best[row.claim.id] = row.best_of(RECORDED)
        rests = row.claim.rests_note
        notes[row.claim.id] = f" It rests on {plain(rests.en)}." if rests else ""
    return "\n".join(
        f"- {written(sentence.en, verdict)}\\\n"
        f"  Claim `{finding.claim}`: *{verdict.outcome.value}* at `{verdict.profile}`."
        f"{notes[finding.claim]}"
        for finding, sentence, verdict in told_findings(best)
        if verdict.outcome is not Outcome.UNDECIDED
    )


def summary_table(rows: Mapping[str, Sequence[ClaimRow]]) -> str:
    """Return the number of claims of each chapter by outcome, as a Markdown table with sums.

    Args:
        rows: The claims of each chapter, by its name.
    """
    counted = {
        name: Counter(row.best_of(RECORDED).outcome for row in found)
        for name, found in rows.items()
    }
    counted["all"] = sum(counted.values(), Counter())
    header = ("claims of", *(outcome.value for outcome in Outcome))
    lines = [header, ("---", *("--:" for _ in Outcome))]
    for name, found in counted.items():
        label = name if name == "all" else f"`{name}`"
        lines.append((label, *(str(found[outcome] or "") for outcome in Outcome)))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def summary(chapters: list[str]) -> str:
    """Return the findings that are decided, and the claims of each chapter by outcome."""
    rows = {name: chapter_rows(name) for name in chapters}
    findings = decided_findings(row for found in rows.values() for row in found)
    return f"{findings}\n\n{summary_table(rows)}".strip()


def put_summary(path: Path, chapters: list[str]) -> None:
    """Replace the content between the two marks of a text file by the summary.

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
        handle.write(f"{before}{BEGIN}\n{summary(chapters)}\n{END}{after}")
