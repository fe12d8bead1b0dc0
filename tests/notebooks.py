"""A notebook with the four parameters of a chapter's."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

PARAMETERS = 'profile = "smoke"\nseed = None\noverrides = {}\nrun_dir = None'


def write_notebook(path: Path, *sources: str, **metadata: object) -> None:
    """Write a notebook with a cell of parameters, the cells of some sources, and metadata."""
    first = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    cells = [first, *map(new_code_cell, sources)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel, **metadata}), path)
