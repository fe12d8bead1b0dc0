"""The ledger: claims of the papers, records of our runs, and the verdicts."""

from okml.ledger.claims import (
    Bar,
    Claim,
    Control,
    Revision,
    Text,
    load_claims,
    parse_claims,
)
from okml.ledger.estimates import Estimate, exact
from okml.ledger.intervals import (
    estimate_difference,
    estimate_left_out,
    estimate_mean,
    estimate_over_seeds,
    estimate_positive_over_seeds,
    estimate_ratio,
    estimate_statistic,
    left_out,
)
from okml.ledger.measurements import Measurements
from okml.ledger.records import (
    DataUsed,
    Provenance,
    RecordedTable,
    RunRecord,
    folder_of,
    load_record,
    read_record,
    record_path,
    save_record,
)
from okml.ledger.report import ClaimRow, chapter_rows, format_estimate
from okml.ledger.run import Run
from okml.ledger.verdicts import LABELS, Outcome, Verdict, judge

__all__ = [
    "LABELS",
    "Bar",
    "Claim",
    "ClaimRow",
    "Control",
    "DataUsed",
    "Estimate",
    "Measurements",
    "Outcome",
    "Provenance",
    "RecordedTable",
    "Revision",
    "Run",
    "RunRecord",
    "Text",
    "Verdict",
    "chapter_rows",
    "estimate_difference",
    "estimate_left_out",
    "estimate_mean",
    "estimate_over_seeds",
    "estimate_positive_over_seeds",
    "estimate_ratio",
    "estimate_statistic",
    "exact",
    "folder_of",
    "format_estimate",
    "judge",
    "left_out",
    "load_claims",
    "load_record",
    "parse_claims",
    "read_record",
    "record_path",
    "save_record",
]
