"""Findings and counts in the README: those of the records, and nothing else in the file changes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from okml.chapters import CHAPTERS
from okml.errors import RecordError
from okml.ledger import chapter_rows
from okml.ledger.findings import load_findings
from okml.ledger.report import RECORDED
from okml.ledger.summary import (
    BEGIN,
    END,
    decided_findings,
    put_summary,
    summary,
    summary_table,
)
from okml.ledger.verdicts import Outcome
from okml.paths import repository_root


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_readme_has_findings_and_counts_of_the_records():
    readme = (repository_root() / "README.md").read_text("utf-8")
    shown = readme.split(BEGIN)[1].split(END)[0].strip()
    assert shown == summary(list(CHAPTERS)), "run `okml report --into README.md`"


def test_what_is_said_to_be_found_is_decided():
    rows = [row for name in CHAPTERS for row in chapter_rows(name)]
    listed = decided_findings(rows)
    for finding in load_findings():
        (row,) = (row for row in rows if row.claim.id == finding.claim)
        verdict, rests = row.best_of(RECORDED), row.claim.rests_note
        decided = verdict.outcome not in (Outcome.UNDECIDED, Outcome.NOT_RUN)
        told = decided and not finding.digest_only
        assert listed.count(f"Claim `{finding.claim}`: ") == told
        if told:
            line = f"  Claim `{finding.claim}`: *{verdict.outcome.value}* at `{verdict.profile}`."
            assert (f"{line} It rests on {rests.en}." if rests else line) in listed.splitlines()
    assert "{" not in listed


def test_claims_are_counted_by_outcome():
    def row(outcome):
        return SimpleNamespace(best_of=lambda scales: SimpleNamespace(outcome=outcome))

    holds, fails = row(Outcome.REPRODUCED), row(Outcome.NOT_REPRODUCED)
    found = {"add": [holds, fails, holds], "strec": [fails, row(Outcome.NOT_RUN)]}
    header, _, *rows = map(cells, summary_table(found).splitlines())
    counted = [{header[place]: count for place, count in enumerate(line) if count} for line in rows]
    assert counted == [
        {"claims of": "`add`", "reproduced": "2", "not reproduced": "1"},
        {"claims of": "`strec`", "not reproduced": "1", "not run here": "1"},
        {"claims of": "all", "reproduced": "2", "not reproduced": "2", "not run here": "1"},
    ]


def test_only_what_is_between_the_marks_changes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter {END}\n", "utf-8")
    for _ in range(2):
        put_summary(page, ["add"])
        text = summary(["add"])
        assert page.read_text("utf-8") == f"before\n{BEGIN}\n{text}\n{END}\nafter {END}\n"


@pytest.mark.parametrize("text", ["nothing", f"{END} {BEGIN}"])
def test_a_file_without_marks_is_left_alone(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    with pytest.raises(RecordError, match="no place for the ledger"):
        put_summary(page, ["add"])
    assert page.read_text("utf-8") == text
