"""What the pages show of the ledger, each file read once a build, and which pages follow it.

A page that shows a chapter is read again when its claims, records or notebooks have changed: it
depends on a file with the fingerprint of the chapter, as it would on a file that it includes. A
build begins with writing those that are no longer right.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import okml
from okml.chapters import CHAPTERS, Chapter, chapter
from okml.errors import OkmlError, ParameterError
from okml.ledger import ClaimRow, RunRecord, chapter_rows, load_record, record_path
from okml.ledger.staleness import Staleness, staleness
from okml.paths import atomic_write
from okml.profile import PROFILE_NAMES, ProfileName
from okml.site.language import LANGUAGES, NOTEBOOK_PAGES, Lang, in_language, page_language


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


def notebook_docnames(chapter: str, lang: Lang = "en") -> list[str]:
    """Return the pages of a chapter's notebooks in a language, in the order of reading."""
    pages = [f"{NOTEBOOK_PAGES}{path.stem}" for path in Chapter(chapter).notebooks]
    return [in_language(page, lang) for page in pages]


def chapter_of_notebook(docname: str) -> str | None:
    """Return the chapter of a notebook's page; None for another page."""
    lang = page_language(docname)
    return next((name for name in CHAPTERS if docname in notebook_docnames(name, lang)), None)


def note_chapters(env: BuildEnvironment, *chapters: str) -> None:
    """Note that the page being read shows these chapters, or all chapters if none is named."""
    for name in chapters or CHAPTERS:
        env.note_dependency(str(_folder(env) / name))


def write_fingerprints(app: Sphinx) -> None:
    """Write the fingerprints of the chapters that have changed since the last build."""
    for name in CHAPTERS:
        path, now = _folder(app.env) / name, _fingerprint(name, Path(app.srcdir))
        if not path.exists() or path.read_text("utf-8") != now:
            with atomic_write(path) as handle:
                handle.write(now)


def pages_with_links(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Return the pages to write again after any change, since the targets of links may change."""
    fingerprints = {str(_folder(env) / name) for name in CHAPTERS}
    return sorted(page for page in env.found_docs if fingerprints & env.dependencies[page])


def _folder(env: BuildEnvironment) -> Path:
    return Path(env.doctreedir) / "chapters"


def _fingerprint(chapter: str, stage: Path) -> str:
    """Return a hash of all content of a chapter that pages show, and of what is stale in it."""
    stale = [stale_since(chapter, profile) for profile in PROFILE_NAMES]
    digest = hashlib.sha256(str(stale).encode())
    records = [record_path(chapter, profile) for profile in PROFILE_NAMES]
    pages = [page for lang in LANGUAGES for page in notebook_docnames(chapter, lang)]
    notebooks = [stage / f"{page}.ipynb" for page in pages]
    for path in (claims_file(chapter), *records, *notebooks):
        digest.update((path.read_bytes() if path.exists() else b"") + b"\0")
    return digest.hexdigest()
