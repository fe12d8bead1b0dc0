"""Which pages are read again: those that show a chapter whose content has changed.

Such a page depends on a file with the fingerprint of the chapter, a hash of its claims, records and
notebooks, as it would depend on a file that it includes. A build begins with writing the
fingerprints that have changed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from okml.chapters import CHAPTERS
from okml.ledger import record_path
from okml.paths import atomic_write
from okml.profile import PROFILE_NAMES
from okml.site import view
from okml.site.language import LANGUAGES


def note_chapters(env: BuildEnvironment, *chapters: str) -> None:
    """Note that the page being read shows these chapters, or all chapters if none is named."""
    for name in chapters or CHAPTERS:
        env.note_dependency(str(_fingerprint_file(env, name)))


def write_fingerprints(app: Sphinx) -> None:
    """Write the fingerprints of the chapters that have changed since the last build."""
    for name in CHAPTERS:
        path, now = _fingerprint_file(app.env, name), _fingerprint(name, Path(app.srcdir))
        if not path.exists() or path.read_text("utf-8") != now:
            with atomic_write(path) as handle:
                handle.write(now)


def pages_with_links(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Return the pages to write again after any change, since the targets of links may change."""
    fingerprints = {str(_fingerprint_file(env, name)) for name in CHAPTERS}
    return sorted(page for page in env.found_docs if fingerprints & env.dependencies[page])


def _fingerprint_file(env: BuildEnvironment, chapter: str) -> Path:
    return Path(env.doctreedir) / "chapters" / chapter


def _fingerprint(chapter: str, stage: Path) -> str:
    """Return a hash of all content of a chapter that pages show, and of what is stale in it."""
    stale = [view.stale_since(chapter, profile) for profile in PROFILE_NAMES]
    digest = hashlib.sha256(str(stale).encode())
    records = [record_path(chapter, profile) for profile in PROFILE_NAMES]
    pages = [page for lang in LANGUAGES for page in view.notebook_docnames(chapter, lang)]
    notebooks = [stage / f"{page}.ipynb" for page in pages]
    for path in (view.claims_file(chapter), *records, *notebooks):
        digest.update((path.read_bytes() if path.exists() else b"") + b"\0")
    return digest.hexdigest()
