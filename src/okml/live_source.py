"""The source code of called objects, read from the package when a notebook's cell runs."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from IPython.display import display

from okml.errors import ParameterError


def show_source(*objects: Callable[..., Any] | type, around: str | None = None) -> None:
    """Display the current code of functions, methods or classes of the package.

    Docstrings are left out, since the page explains what the code computes.

    Args:
        objects: Functions, methods or classes.
        around: Text of one line. Only the innermost loop or branch around it is displayed, which
            suits a long function whose equation is a few lines.
    """
    for each in objects:
        name = f"{each.__module__}.{each.__qualname__}"
        source = without_docstrings(inspect.getsource(each))
        code = f"```python\n{source if around is None else block_around(source, around)}\n```"
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


def block_around(source: str, text: str) -> str:
    """Return the innermost loop, branch or function of the code in which a line holds a text.

    Raises:
        ParameterError: If no line or more than one holds the text.
    """
    lines = source.splitlines()
    holding = [number for number, line in enumerate(lines, 1) if text in line]
    if len(holding) != 1:
        raise ParameterError(f"{len(holding)} lines of the code hold {text!r}; name one line.")
    blocks = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt)
        and hasattr(node, "body")
        and node.lineno <= holding[0] <= (node.end_lineno or node.lineno)
    ]
    innermost = max(blocks, key=lambda node: node.lineno)
    return textwrap.dedent("\n".join(lines[innermost.lineno - 1 : innermost.end_lineno]))
