"""Run records: the measurements of a run with their provenance, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from okml.errors import RecordError
from okml.ledger.claims import Stood
from okml.ledger.estimates import Estimate
from okml.paths import atomic_write, build_dir, results_dir
from okml.profile import Profile, ProfileName, canonical_hash
from okml.runtime import Commit, Environment
from okml.settings import Frozen

SCHEMA_VERSION: Final = 2
READABLE: Final = (1, 2)  # 1: bare numbers, and no claims
IN_FOLDER: Final = "record.json"  # the record in the working folder of its run


class DataUsed(Frozen):
    """One file a run read: which source served it, and its hash."""

    source: str
    sha256: str


class Provenance(Frozen):
    """The origin of a record: time, code, machine, device and data."""

    started: str  # UTC, ISO 8601
    seconds: float  # wall time
    commit: Commit
    code: str = ""  # key of the code that makes the chapter's numbers; empty in older records
    environment: Environment
    peak_memory_gib: float
    device: str  # the name that torch gives it, such as "cpu" or "cuda"
    data: dict[str, DataUsed]  # the files that the run read, by name
    # Results of other code that this run adopted, with the functions in which the code differs.
    adopted: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class RecordedTable(Frozen):
    """Rows behind a figure or a table of the chapter, column by column."""

    columns: dict[str, list[Any]]
    caption: str = ""


class RunRecord(Frozen):
    """One finished run of one chapter at one profile."""

    schema_version: Literal[1, 2]
    chapter: str
    profile: ProfileName
    settings: dict[str, Any]
    settings_sha256: str
    seeds: tuple[int, ...]
    metrics: dict[str, Estimate]
    # The metric less its control, paired, by the name of the metric, then of the control.
    differences: dict[str, dict[str, Estimate]] = Field(default_factory=dict)
    # Each claim as it stood before it was measured, by id.
    claims: dict[str, Stood] = Field(default_factory=dict)
    tables: dict[str, RecordedTable] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    provenance: Provenance
    sha256: str = Field(default="", description="of everything else, as canonical JSON")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        stated = (self.settings.get("name"), tuple(self.settings.get("seeds", ())))
        if stated != (self.profile, self.seeds):
            raise ValueError("profile and seeds are not those of the settings")
        if canonical_hash(self.settings) != self.settings_sha256:
            raise ValueError("settings_sha256 is not the hash of the settings")
        return self

    def digest(self) -> str:
        """Return the SHA-256 of the record without its own ``sha256`` field."""
        return _digest(self.model_dump(mode="json", exclude={"sha256"}))

    def write(self, path: Path) -> None:
        """Write the record with its hash, atomically."""
        values = self.model_dump(mode="json", exclude={"sha256"})
        values["sha256"] = _digest(values)
        with atomic_write(path) as handle:
            json.dump(values, handle, ensure_ascii=False, indent=1, allow_nan=False)
            handle.write("\n")


def _digest(values: Mapping[str, Any]) -> str:
    return canonical_hash(values, ensure_ascii=False)


def read_record(path: Path) -> RunRecord:
    """Read a record and check its schema and its hash.

    Raises:
        RecordError: If the file is missing, half-written, of another schema, or was changed after
            the run.
    """
    again = "Run the chapter again; a record is never repaired by hand."
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("schema_version") not in READABLE:
            raise RecordError(
                f"{path} has schema {values.get('schema_version')!r}; this okml reads "
                f"{SCHEMA_VERSION}.",
                again,
            )
        record = RunRecord.model_validate(values)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, ValidationError):
            detail = "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors()[:3])
        else:
            detail = str(error)
        raise RecordError(f"{path} is not a readable run record: {detail}.", again) from None
    if record.sha256 != _digest({k: v for k, v in values.items() if k != "sha256"}):
        raise RecordError(f"{path} was changed after its run: its hash does not match.", again)
    return record


def record_path(chapter: str, profile: ProfileName) -> Path:
    """Return the path of the record of a chapter at a profile.

    Records of ``smoke``, which every build runs afresh, lie among the build products; those of
    the other scales are committed under ``results/``.
    """
    if profile == "smoke":
        return run_dir(chapter, profile) / IN_FOLDER
    return results_dir() / chapter / f"{profile}.json"


def run_dir(chapter: str, profile: ProfileName) -> Path:
    """Return the default working folder of a run: activations, checkpoints and its record."""
    return build_dir() / "runs" / chapter / profile


def folder_of(profile: Profile, stated: Profile) -> Path:
    """Return the default working folder of a run with these settings.

    Args:
        profile: The settings of the run.
        stated: The profile's settings without overrides. Other settings get a folder of their
            own, so that a trial never passes for the stated run.
    """
    folder = run_dir(profile.chapter, profile.name)
    if profile.fingerprint() == stated.fingerprint():
        return folder
    return folder.with_name(f"{profile.name}-{profile.fingerprint()[:8]}")


def load_record(chapter: str, profile: ProfileName) -> RunRecord | None:
    """Return the record of a chapter at a profile, or None where it has not been run.

    Raises:
        RecordError: If the file cannot be read, or is a record of something else.
    """
    path = record_path(chapter, profile)
    if not path.exists():
        return None
    record = read_record(path)
    if (record.chapter, record.profile) != (chapter, profile):
        raise RecordError(
            f"{path} is the record of {record.chapter} at {record.profile}.",
            f"Run `okml run {chapter} --profile {profile}`; a record stays where its run put it.",
        )
    return record


def save_record(record: RunRecord, profile: Profile, run_dir: Path) -> Path:
    """Write a record into the run's folder, and into ``results/`` where it belongs there.

    ``results/`` takes the runs that the site shows: all but ``smoke``, with their stated settings.
    The record of a run with overrides is only in the run's folder.

    Args:
        record: The finished record.
        profile: The stated settings of the profile, without overrides.
        run_dir: The working folder of the run.

    Returns:
        The path of the written record, under ``results/`` if it belongs there.
    """
    path = run_dir / IN_FOLDER
    record.write(path)
    if record.profile != "smoke" and record.settings_sha256 == profile.fingerprint():
        path = record_path(record.chapter, record.profile)
        record.write(path)
    return path
