"""Lines of source: where figures are drawn and numbers measured, and links to such places.

A link leads into the repository at the commit of the build, or else to the site itself: one that
does not know the address of its repository has a page for each file that it links to.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.osutil import relative_uri

from okml.code_key.reach import DRAWING
from okml.runtime import commit
from okml.site import view
from okml.site.markup import element, tag

SOURCES = Path(__file__).parents[2]  # the folder of the package okml
SOURCE_PAGES = "source/"
LEXERS = {".py": "python", ".yml": "yaml"}
LINE = "L"
DEFINED = re.compile(r"okml(\.\w+)+")
NAME = re.compile(r"[\w*]*[^\W_][\w*]*")  # it has a letter or a digit; a star stands for a field

Place = tuple[str, int]  # path from the root of the repository, line


@cache
def _sha() -> str:
    return commit().sha


def source_link(env: BuildEnvironment, path: str, line: int, text: str = "") -> element:
    """Return a link to a line of a file.

    Args:
        env: The build, which is reading the page that has the link.
        path: The path of the file from the root of the repository.
        line: The number of the line, from 1.
        text: The text of the link; if empty, path and line.
    """
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


def imported(notebook: NotebookNode) -> dict[str, str]:
    """Return the names that the cells import from okml, each with its full name in the package."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for cell in notebook.cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("okml.")
        for alias in node.names
    }


def drawn_by(source: str, names: dict[str, str]) -> list[Place]:
    """Return the functions and classes of figures that the code of a cell calls.

    Args:
        source: The code of the cell.
        names: What its notebook imports, as :func:`imported` returns it.
    """
    places = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            if first in names and DRAWING in names[first].split("."):
                places.append(place_of(f"{names[first]}.{rest}".rstrip(".")))
    return list(dict.fromkeys(filter(None, places)))


def link_sources(app: Sphinx, doctree: nodes.document) -> None:
    """Link each name that stands alone, as above what ``show_source`` displays, to its lines."""
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext()
        alone = isinstance(literal.parent, nodes.paragraph) and len(literal.parent) == 1
        place = place_of(name) if alone and DEFINED.fullmatch(name) else None
        if place is not None:
            literal.replace_self(source_link(app.env, *place, text=name))


@cache
def place_of(name: str) -> Place | None:
    """Return where a function, method or class is defined; None if okml does not define it.

    The files are read and not imported, since a page needs the lines alone.

    Args:
        name: The full name, such as ``okml.site.repository.place_of``.
    """
    path, parts = SOURCES, name.split(".")
    while parts and (path / parts[0]).is_dir():
        path /= parts.pop(0)
    file = path / "__init__.py"
    if parts and (path / f"{parts[0]}.py").is_file():
        file = path / f"{parts.pop(0)}.py"
    node: ast.AST = ast.parse(file.read_text("utf-8"))
    for part in parts:
        inside = (each for each in ast.iter_child_nodes(node) if getattr(each, "name", "") == part)
        node = next(inside, ast.Pass())
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return None
    return f"src/{file.relative_to(SOURCES).as_posix()}", node.lineno


@cache
def _names(chapter: str) -> dict[str, list[Place]]:
    """Return where a chapter's code has each name as a string; a star stands for a field.

    Figures draw what other code measures.
    """
    package = view.claims_file(chapter).parent
    found: dict[str, list[Place]] = {}
    for path in sorted(package.rglob("*.py")):
        within = path.relative_to(package)
        if DRAWING in within.with_suffix("").parts:
            continue
        file = f"src/okml/{chapter}/{within.as_posix()}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Constant | ast.JoinedStr):
                continue
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            name = "".join(str(p.value) if isinstance(p, ast.Constant) else "*" for p in parts)
            if NAME.fullmatch(name):
                found.setdefault(name, []).append((file, node.lineno))
    return found


def measured_at(chapter: str, metric: str) -> list[Place]:
    """Return the files and lines of a chapter's code that name a metric, two at most.

    A name that is made of parts is found by the string that has most of it, or by its last words.
    """
    names = _names(chapter)
    made = [name for name in names if "*" in name and fnmatchcase(metric, name)]
    ends = [name for name in names if "_" in name and metric.endswith(f"_{name}")]
    best = metric if metric in names else max(made or ends, key=len, default="")
    return names.get(best, [])[:2]


def stated_at(chapter: str, claim: str) -> Place:
    """Return the file and the line where a claim is stated; the first line if it is not there.

    Args:
        chapter: The chapter of the claim.
        claim: The id of the claim.
    """
    path = view.claims_file(chapter)
    lines = path.read_text(encoding="utf-8").splitlines()
    line = next((n for n, text in enumerate(lines, 1) if text.strip() == f"- id: {claim}"), 1)
    return f"src/okml/{chapter}/claims.yml", line
