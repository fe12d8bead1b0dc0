"""The ledger: claims, run records and verdicts; the paper beside what we measured."""

from okml.ledger.claims import Claim, Control, PaperValue, Text, load_claims, parse_claims
from okml.ledger.records import (
    DataUsed,
    Metric,
    Provenance,
    Run,
    RunRecord,
    Table,
    folder_of,
    load_record,
    read_record,
    record_path,
    run_dir,
    save_record,
)
from okml.ledger.report import Row, chapter_rows, format_metric
from okml.ledger.summary import put_summary, summary_table
from okml.ledger.verdicts import LABELS, Outcome, Verdict, judge

__all__ = [
    "LABELS",
    "Claim",
    "Control",
    "DataUsed",
    "Metric",
    "Outcome",
    "PaperValue",
    "Provenance",
    "Row",
    "Run",
    "RunRecord",
    "Table",
    "Text",
    "Verdict",
    "chapter_rows",
    "folder_of",
    "format_metric",
    "judge",
    "load_claims",
    "load_record",
    "parse_claims",
    "put_summary",
    "read_record",
    "record_path",
    "run_dir",
    "save_record",
    "summary_table",
]
