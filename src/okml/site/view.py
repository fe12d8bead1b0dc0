"""What the pages read of the ledger, and how they write numbers."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from pathlib import Path

import okml
from okml.chapters import CHAPTERS, Chapter
from okml.errors import ParameterError
from okml.ledger import Estimate, Row, chapter_rows, format_metric, record_path
from okml.profile import PROFILE_NAMES


def claims_file(chapter: str) -> Path:
    """Return where the claims of a chapter are listed, whether or not the file exists."""
    return Path(okml.__file__).parent / chapter / "claims.yml"


def fingerprint(chapter: str, notebook: Path | None = None) -> str:
    """Return a hash of everything a page shows of a chapter: claims, records, its notebook."""
    digest = hashlib.sha256()
    for path in _sources(chapter, notebook):
        digest.update(path.read_bytes() if path.exists() else b"absent")
        digest.update(b"\0")
    return digest.hexdigest()


def _sources(chapter: str, notebook: Path | None) -> list[Path]:
    records = [record_path(chapter, profile) for profile in PROFILE_NAMES]
    return [claims_file(chapter), *records, *([notebook] if notebook else [])]


def rows(chapter: str) -> list[Row]:
    """Return the claims of a chapter with their verdicts; none while no claims are listed.

    Raises:
        ParameterError: If there is no such chapter.
    """
    if chapter not in CHAPTERS:
        raise ParameterError(f"Unknown chapter {chapter!r}.", f"Chapters: {', '.join(CHAPTERS)}.")
    if not claims_file(chapter).exists():
        return []
    return list(_rows(chapter, fingerprint(chapter)))


@lru_cache(maxsize=32)
def _rows(chapter: str, _state: str) -> tuple[Row, ...]:
    return tuple(chapter_rows(chapter))


def find(claim_id: str) -> Row:
    """Return the row of one claim.

    Raises:
        ParameterError: If no chapter lists it.
    """
    chapter = claim_id.partition(".")[0]
    for row in rows(chapter):
        if row.claim.id == claim_id:
            return row
    raise ParameterError(f"Unknown claim {claim_id!r}: {chapter}/claims.yml does not list it.")


def measured_text(metric: Estimate) -> str:
    """Write a metric with the digits its size deserves: ``0.412 ± 0.008``, ``16,384``."""
    return format_metric(metric, digits(metric))


def digits(metric: Estimate) -> int:
    """Return how many decimals show three significant digits of the mean, at most three."""
    numbers = metric.numbers
    if all(float(number).is_integer() for number in numbers if math.isfinite(number)) and (
        len(numbers) == 1
    ):
        return 0
    size = abs(metric.mean)
    if not math.isfinite(size) or size < 10:
        return 3
    return max(0, 3 - math.floor(math.log10(size)))


def measured_title(metric: Estimate) -> str:
    """Say how a number came about: its unit, seeds and interval."""
    parts = [metric.unit] if metric.unit else []
    if len(metric.values) > 1:
        parts.append(f"mean ± standard deviation over {len(metric.values)} seeds")
    elif next(iter(metric.values)) != "all":
        parts.append(f"one seed: {next(iter(metric.values))}")
    if metric.low is not None and metric.high is not None:
        parts.append(f"95 % interval {metric.low:.3f} to {metric.high:.3f}")
    return "; ".join(parts)


def chapter_notebook_docname(chapter: str) -> str:
    """Return the page of a chapter's notebook."""
    return f"notebooks/{Chapter(chapter).notebook.stem}"
