"""The lines of code that draw the figures of a notebook."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from pydoc import locate
from types import FunctionType

from nbformat import NotebookNode

from okml.paths import repository_root

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
    """Return the functions of figures that a cell calls.

    Args:
        source: The code of the cell.
        names: What the notebook imports, as :func:`imported` returns it.
    """
    places = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            if first in names:
                places.append(_place(f"{names[first]}.{rest}".rstrip(".")))
    return list(dict.fromkeys(filter(None, places)))


def _place(name: str) -> Place | None:
    """Return the file and line of a function by its full name; None if it draws no figure."""
    found = locate(name) if FIGURES in name else None
    if not isinstance(found, FunctionType) or FIGURES not in found.__module__.split("."):
        return None
    function = inspect.unwrap(found)
    path = Path(function.__code__.co_filename)
    return path.relative_to(repository_root()).as_posix(), function.__code__.co_firstlineno
