"""The source code of called objects, read from the package when a notebook's cell runs."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from IPython.display import display


def show_source(*objects: Callable[..., Any] | type) -> None:
    """Display the current code of functions, methods or classes of the package.

    Docstrings are left out, since the page explains what the code computes.
    """
    for each in objects:
        name = f"{each.__module__}.{each.__qualname__}"
        code = f"```python\n{without_docstrings(inspect.getsource(each))}\n```"
        shown = {"text/markdown": f"`{name}`\n\n{code}", "text/plain": f"source of {name}"}
        display(shown, raw=True)  # type: ignore[no-untyped-call]


def without_docstrings(source: str) -> str:
    """Return code dedented and without the docstrings of its functions and classes."""
    source = textwrap.dedent(source)
    lines: list[str | None] = list(source.splitlines())
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if ast.get_docstring(node) is None or len(node.body) == 1:
            continue
        docstring = node.body[0]
        # Blank lines between a docstring and the next statement are removed too.
        for number in range(docstring.lineno, node.body[1].lineno):
            line = lines[number - 1]
            if number <= (docstring.end_lineno or number) or not (line or "").strip():
                lines[number - 1] = None
    return "\n".join(line for line in lines if line is not None)
