"""The lines of code behind what a notebook shows: what draws its figures, and shown source."""

from __future__ import annotations

import ast
import re
from functools import cache

from docutils import nodes
from nbformat import NotebookNode
from sphinx.application import Sphinx

from okml.site.repository import SOURCES, source_link

NAME = re.compile(r"okml(\.\w+)+")
FIGURES = "figures"  # the module of a chapter, or a part of it, that draws

Place = tuple[str, int]  # path from the root of the repository, line


def imported(notebook: NotebookNode) -> dict[str, str]:
    """Return what the cells import from okml: names, and where in the package they come from."""
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

    ``names`` has what its notebook imports, as :func:`imported` returns it.
    """
    places = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            if first in names and FIGURES in names[first].split("."):
                places.append(place_of(f"{names[first]}.{rest}".rstrip(".")))
    return list(dict.fromkeys(filter(None, places)))


def link_sources(app: Sphinx, doctree: nodes.document) -> None:
    """Link each name that stands alone, as above what ``show_source`` displays, to its lines."""
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext()
        alone = isinstance(literal.parent, nodes.paragraph) and len(literal.parent) == 1
        place = place_of(name) if alone and NAME.fullmatch(name) else None
        if place is not None:
            literal.replace_self(source_link(app.env, *place, text=name))


@cache
def place_of(name: str) -> Place | None:
    """Return where a function, method or class is defined, by its full name.

    The files are read and not imported, since a page needs the lines alone. None: okml defines
    nothing of this name.
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
