"""Links to lines of source: in the repository at the commit of the build, or else on the site.

A site that does not know the address of its repository has a page for each file that it links to.
"""

from __future__ import annotations

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
        _linked(env).setdefault(env.docname, set()).add(path)
        href = f"{relative_uri(env.docname, _page_of(path))}.html#{LINE}-{line}"
    code = tag("code", text or f"{path}:{line}")
    return tag("a", code, classes=["okml-source"], attrs={"href": href})


def _page_of(path: str) -> str:
    return SOURCE_PAGES + path.removeprefix("src/")


def _linked(env: BuildEnvironment) -> dict[str, set[str]]:
    """Return the files to which each page links."""
    if not hasattr(env, "okml_sources"):
        env.okml_sources = {}
    return env.okml_sources  # type: ignore[no-any-return]


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
        file = SOURCES / path.removeprefix("src/")
        lines = app.builder.highlighter.highlight_block(
            file.read_text("utf-8"), LEXERS[file.suffix], linenos="inline", linespans=LINE
        )
        body = f'<h1><code class="okml-file">{escape(path)}</code></h1>\n{lines}'
        yield _page_of(path), {"title": path, "body": body}, "page.html"
