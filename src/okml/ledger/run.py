"""A run in progress: it collects measurements and makes the record of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from okml.clock import now
from okml.code_key import code_key_of
from okml.errors import RecordError
from okml.ledger.claims import load_claims
from okml.ledger.measurements import Measurements
from okml.ledger.records import (
    IN_FOLDER,
    SCHEMA_VERSION,
    DataUsed,
    Provenance,
    RecordedTable,
    RunRecord,
    read_record,
)
from okml.profile import Profile
from okml.runtime import commit, environment, peak_memory_gib


class Run(Measurements):
    """The measurements of a run, and the record that is made of them.

    Args:
        profile: The settings of the run.
        device: The name of the run's device, such as "cpu".
    """

    def __init__(self, profile: Profile, device: str) -> None:
        super().__init__()
        self.profile = profile
        self.device = device
        self._tables: dict[str, RecordedTable] = {}
        self.notes: list[str] = []  # what a reader of the numbers should know
        self.data: dict[str, DataUsed] = {}  # the files that the run read
        self._adopted: dict[str, tuple[str, ...]] = {}
        self._earlier_peak_gib = 0.0
        self.started = now()
        # Bars are set before a run, so the current ones count.
        self.claims = {
            claim.id: claim.as_it_stands(profile.name)
            for claim in load_claims(profile.chapter)
            if claim.metric is not None
        }
        self._commit = commit()
        self._code = code_key_of(profile.chapter)  # files may change during a run

    def table(self, name: str, columns: Mapping[str, Iterable[Any]]) -> None:
        """Keep the rows behind a figure, column by column; floats to 5 significant digits.

        Args:
            name: The name of the table in the record.
            columns: The values of each column by its name; all columns have the same length.

        Raises:
            RecordError: If the columns have different lengths.
        """
        kept = {column: [_short(item) for item in items] for column, items in columns.items()}
        if len({len(items) for items in kept.values()}) > 1:
            raise RecordError(f"The columns of table {name!r} have different lengths.")
        self._tables[name] = RecordedTable(columns=kept)

    def note_adopted(self, differences: Mapping[str, tuple[str, ...]]) -> None:
        """Record the results that the run adopted from other code, with a note if there are any.

        Args:
            differences: The functions, classes, constants and libraries in which the other code
                differs, by the name of the step or of the function that trains.
        """
        self._adopted = dict(differences)
        if differences:
            names = dict.fromkeys(name for each in differences.values() for name in each)
            self.notes.append(
                f"{len(differences)} results are adopted from runs of other code, which differs in "
                f"{', '.join(names)}."
            )

    def include_peak_of_earlier_run(self, run_dir: Path) -> None:
        """Let the peak memory be at least that of an earlier run, whose results this run used.

        Args:
            run_dir: The folder of both runs. Nothing changes if it has no record of the chapter.

        Raises:
            RecordError: If that record cannot be read.
        """
        path = run_dir / IN_FOLDER
        if path.exists() and (earlier := read_record(path)).chapter == self.profile.chapter:
            self._earlier_peak_gib = earlier.provenance.peak_memory_gib

    def record(self, seconds: float) -> RunRecord:
        """Return the finished record of a run whose steps took ``seconds`` in total."""
        unsigned = RunRecord(
            schema_version=SCHEMA_VERSION,
            chapter=self.profile.chapter,
            profile=self.profile.name,
            settings=self.profile.model_dump(mode="json"),
            settings_sha256=self.profile.fingerprint(),
            seeds=self.profile.seeds,
            metrics=dict(sorted(self.metrics.items())),
            differences=dict(sorted(self.differences.items())),
            claims=self.claims,
            tables=self._tables,
            notes=tuple(self.notes),
            provenance=Provenance(
                started=self.started,
                seconds=round(seconds, 1),
                commit=self._commit,
                code=self._code,
                environment=environment(),
                peak_memory_gib=max(round(peak_memory_gib(), 2), self._earlier_peak_gib),
                device=self.device,
                data=dict(sorted(self.data.items())),
                adopted=self._adopted,
            ),
        )
        return unsigned.model_copy(update={"sha256": unsigned.digest()})


def _short(value: Any) -> Any:
    """Round floats to 5 significant digits; what is not finite is None (null in JSON)."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, list):
        return [_short(item) for item in value]
    return value.item() if hasattr(value, "item") else value
