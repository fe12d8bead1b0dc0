"""What the pages show of the ledger and the notebooks; each file is read once a build."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import okml
from okml.chapters import CHAPTERS, Chapter, chapter
from okml.errors import OkmlError, ParameterError
from okml.ledger import ClaimRow, RunRecord, chapter_rows, load_record
from okml.ledger.staleness import Staleness, staleness
from okml.profile import ProfileName
from okml.site.language import NOTEBOOK_PAGES, Lang, in_language, page_language


def forget() -> None:
    """Read all files again from here on; a build begins with this."""
    for read in (notebook, rows, record, stale_since):
        read.cache_clear()


@cache
def notebook(path: Path) -> dict[str, Any]:
    """Return a notebook, which the caller must not change; without cells if the file is missing."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {"cells": [], "metadata": {}}


def claims_file(chapter: str) -> Path:
    """Return the path of a chapter's claims, whether or not the file exists."""
    return Path(okml.__file__).parent / chapter / "claims.yml"


@cache
def rows(name: str) -> list[ClaimRow]:
    """Return the claims of a chapter with their verdicts, which the caller must not change.

    Raises:
        ParameterError: If there is no such chapter.
        RecordError: If its claims or a record of it cannot be read.
    """
    return chapter_rows(chapter(name).name)


@cache
def record(chapter: str, profile: ProfileName) -> RunRecord | None:
    """Return the record of a chapter at a scale; None where it has not been run.

    Raises:
        RecordError: If the file cannot be read, or is a record of something else.
    """
    return load_record(chapter, profile)


@cache
def stale_since(chapter: str, profile: ProfileName) -> Staleness | None:
    """Return the changes since the record was made; None without changes or without a record."""
    try:
        found = record(chapter, profile)
    except OkmlError:  # the page that shows the record warns
        return None
    return staleness(found) if found else None


def chapter_of(name: str) -> str:
    """Return the chapter of a claim or a metric, such as ``strec`` of ``strec.memory``."""
    return name.partition(".")[0]


def find(claim_id: str) -> ClaimRow:
    """Return the row of one claim.

    Raises:
        ParameterError: If no chapter lists it.
        RecordError: If the chapter's claims or records cannot be read.
    """
    chapter = chapter_of(claim_id)
    for row in rows(chapter):
        if row.claim.id == claim_id:
            return row
    raise ParameterError(f"Unknown claim {claim_id!r}: {chapter}/claims.yml does not list it.")


def digest_docname(chapter: str, lang: Lang = "en") -> str:
    """Return the page of a chapter's digest in a language, whether or not it exists."""
    return in_language(f"book/digests/{chapter}", lang)


def notebook_docnames(chapter: str, lang: Lang = "en") -> list[str]:
    """Return the pages of a chapter's notebooks in a language, in the order of reading."""
    pages = [f"{NOTEBOOK_PAGES}{path.stem}" for path in Chapter(chapter).notebooks]
    return [in_language(page, lang) for page in pages]


def chapter_of_notebook(docname: str) -> str | None:
    """Return the chapter of a notebook's page; None for another page."""
    lang = page_language(docname)
    return next((name for name in CHAPTERS if docname in notebook_docnames(name, lang)), None)
