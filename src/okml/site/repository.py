"""Links to lines of source: in the repository at the commit of the build, or else on the site.

A site that does not know the address of its repository has a page for each file that it links to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.osutil import relative_uri

from okml.runtime import commit
from okml.site.markup import element, tag

SOURCES = Path(__file__).parents[2]  # the folder of the package okml
SOURCE_PAGES = "source/"
LEXERS = {".py": "python", ".yml": "yaml"}
LINE = "L"


@cache
def _sha() -> str:
    return commit().sha


def source_link(env: BuildEnvironment, path: str, line: int, text: str = "") -> element:
    """Return a link to a line of a file; its text is the place, or ``text``."""
    url = (env.config.html_theme_options.get("repository_url") or "").rstrip("/")
    if url:
        href = f"{url}/blob/{_sha()}/{path}#L{line}"
    else:
        _linked(env).setdefault(env.docname, {})[path] = _digest(path)
        href = f"{relative_uri(env.docname, _page_of(path))}.html#{LINE}-{line}"
    code = tag("code", text or f"{path}:{line}")
    return tag("a", code, classes=["okml-source"], attrs={"href": href})


def _page_of(path: str) -> str:
    return SOURCE_PAGES + path.removeprefix("src/")


def _digest(path: str) -> str:
    """Return the hash of a file; none if it is gone."""
    file = _file(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""


def _file(path: str) -> Path:
    return SOURCES / path.removeprefix("src/")


def _linked(env: BuildEnvironment) -> dict[str, dict[str, str]]:
    """Return the files to which each page links, and their hashes when it was read."""
    if not hasattr(env, "okml_linked_files"):
        env.okml_linked_files = {}
    return env.okml_linked_files  # type: ignore[no-any-return]


def pages_with_old_lines(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Return the pages that link to lines of files which have changed since they were read."""
    return [
        page
        for page, files in _linked(env).items()
        if page not in removed and any(_digest(path) != then for path, then in files.items())
    ]


def forget_links(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget to which files a page links, since it is read again or deleted."""
    _linked(env).pop(page, None)


def merge_links(app: Sphinx, env: BuildEnvironment, pages: set[str], other: Any) -> None:
    """Add what a parallel reader found on its pages."""
    _linked(env).update({page: files for page, files in _linked(other).items() if page in pages})


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a page for each file to which a page links: its name, its context, its template."""
    assert app.env is not None
    for path in sorted(set().union(*_linked(app.env).values())):
        file = _file(path)
        lines = app.builder.highlighter.highlight_block(
            file.read_text("utf-8"), LEXERS[file.suffix], linenos="inline", linespans=LINE
        )
        body = f'<h1><code class="okml-file">{escape(path)}</code></h1>\n{lines}'
        yield _page_of(path), {"title": path, "body": body}, "page.html"
