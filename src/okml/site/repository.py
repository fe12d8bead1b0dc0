"""Links to lines of source: in the repository at the commit of the build, or else on the site.

A site that does not know the address of its repository has a page for each file that it links to.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
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
        env.note_dependency(str(SOURCES / path.removeprefix("src/")))  # an edit moves its lines
        page = SOURCE_PAGES + path.removeprefix("src/")
        href = f"{relative_uri(env.docname, page)}.html#{LINE}-{line}"
    code = tag("code", text or f"{path}:{line}")
    return tag("a", code, classes=["okml-source"], attrs={"href": href})


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a page for each file to which a page links: its name, its context, its template."""
    noted = {Path(file) for files in app.env.dependencies.values() for file in files}
    for file in sorted(file for file in noted if file.is_relative_to(SOURCES)):
        name = file.relative_to(SOURCES).as_posix()
        lines = app.builder.highlighter.highlight_block(
            file.read_text("utf-8"), LEXERS[file.suffix], linenos="inline", linespans=LINE
        )
        title = f"src/{name}"
        body = f'<h1><code class="okml-file">{title}</code></h1>\n{lines}'
        yield SOURCE_PAGES + name, {"title": title, "body": body}, "page.html"
