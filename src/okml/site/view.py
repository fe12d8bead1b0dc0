"""Cached access of the pages to the ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import okml
from okml.chapters import CHAPTERS, Chapter
from okml.errors import OkmlError, ParameterError
from okml.ledger import ClaimRow, RunRecord, chapter_rows, load_record, record_path
from okml.ledger.staleness import Staleness, staleness
from okml.profile import PROFILE_NAMES, ProfileName
from okml.site.language import NOTEBOOK_PAGES, Lang, in_language, page_language

State: TypeAlias = tuple[int, int] | None  # of a file: time and size; None without the file


def _state(path: Path) -> State:
    if not path.exists():
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=256)
def _digest(path: Path, state: State) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest() if state else b"absent"


def notebook(path: Path) -> dict[str, Any]:
    """Return a notebook, read once for each state of its file; one without cells if it is missing.

    Nobody may change what is returned.
    """
    return _notebook(path, _state(path))


@lru_cache(maxsize=32)
def _notebook(path: Path, state: State) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if state else {"cells": [], "metadata": {}}


def claims_file(chapter: str) -> Path:
    """Return the path of a chapter's claims, whether or not the file exists."""
    return Path(okml.__file__).parent / chapter / "claims.yml"


def fingerprint(chapter: str, notebooks: Iterable[Path] = ()) -> str:
    """Return a hash of all chapter content of a page: claims, records, notebooks."""
    digest = hashlib.sha256(str([stale_since(chapter, name) for name in PROFILE_NAMES]).encode())
    for path in _sources(chapter, notebooks):
        digest.update(_digest(path, _state(path)))
    return digest.hexdigest()


def _sources(chapter: str, notebooks: Iterable[Path]) -> list[Path]:
    records = [record_path(chapter, profile) for profile in PROFILE_NAMES]
    return [claims_file(chapter), *records, *notebooks]


def rows(chapter: str) -> list[ClaimRow]:
    """Return the claims of a chapter with their verdicts; an empty list without claims.

    Raises:
        ParameterError: If there is no such chapter.
    """
    if chapter not in CHAPTERS:
        raise ParameterError(f"Unknown chapter {chapter!r}.", f"Chapters: {', '.join(CHAPTERS)}.")
    if not claims_file(chapter).exists():
        return []
    return list(_rows(chapter, fingerprint(chapter)))


@lru_cache(maxsize=32)
def _rows(chapter: str, _fingerprint: str) -> tuple[ClaimRow, ...]:
    return tuple(chapter_rows(chapter))


def record(chapter: str, profile: ProfileName) -> RunRecord | None:
    """Return a record, read once for each state of its file."""
    path = record_path(chapter, profile)
    return _record(chapter, profile, path, _state(path))


@lru_cache(maxsize=64)
def _record(chapter: str, profile: ProfileName, _path: Path, _at: State) -> RunRecord | None:
    return load_record(chapter, profile)


def stale_since(chapter: str, profile: ProfileName) -> Staleness | None:
    """Return the changes since the record was made; None without changes or without a record."""
    try:
        found = record(chapter, profile)
    except OkmlError:  # the page that shows the record warns
        return None
    return _staleness(found.sha256, chapter, profile) if found else None


@lru_cache(maxsize=64)
def _staleness(_sha256: str, chapter: str, profile: ProfileName) -> Staleness | None:
    found = record(chapter, profile)
    return staleness(found) if found else None


def chapter_of(name: str) -> str:
    """Return the chapter of a claim or a metric, such as ``strec`` of ``strec.memory``."""
    return name.partition(".")[0]


def find(claim_id: str) -> ClaimRow:
    """Return the row of one claim.

    Raises:
        ParameterError: If no chapter lists it.
    """
    chapter = chapter_of(claim_id)
    for row in rows(chapter):
        if row.claim.id == claim_id:
            return row
    raise ParameterError(f"Unknown claim {claim_id!r}: {chapter}/claims.yml does not list it.")


def notebook_docnames(chapter: str, lang: Lang = "en") -> list[str]:
    """Return the pages of a chapter's notebooks in a language, in the order of reading."""
    pages = [f"{NOTEBOOK_PAGES}{path.stem}" for path in Chapter(chapter).notebooks]
    return [in_language(page, lang) for page in pages]


def chapter_of_notebook(docname: str) -> str | None:
    """Return the chapter of a notebook's page; None for another page."""
    lang = page_language(docname)
    return next((name for name in CHAPTERS if docname in notebook_docnames(name, lang)), None)
