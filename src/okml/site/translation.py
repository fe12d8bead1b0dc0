"""The Russian words of notebooks, and the notebooks made of them.

A notebook is one file in two languages. Its cells are written in English, as GitHub and Jupyter
show them. The metadata of a cell of words keep the same in Russian under ``ru``: ``source`` has the
lines, and ``of`` the first 12 digits of the SHA-256 of the English words, so that a cell whose
words have changed since is found. The Russian page is made of the same executed notebook.
"""

from __future__ import annotations

import copy

from nbformat import NotebookNode, from_dict

from okml.notebooks import RUSSIAN
from okml.site import labeled, labels

# What MyST-NB writes above folded code, by the names of its settings.
PROMPTS = {"code_prompt_show": "Показать код ячейки", "code_prompt_hide": "Скрыть код ячейки"}


def translation(cell: NotebookNode) -> str | None:
    """Return the Russian words of a cell; None if it has none."""
    return "".join(cell.metadata[RUSSIAN]["source"]) if RUSSIAN in cell.metadata else None


def notebook_in_russian(executed: NotebookNode, committed: NotebookNode) -> NotebookNode | None:
    """Return an executed notebook with Russian words and labels; None if it is not translated.

    The words are those of the same notebook as it is committed, since a translation that has
    changed needs no new run.

    Args:
        executed: The executed notebook, which stays as it is.
        committed: The same notebook as it is committed, with the translations.
    """
    words = {cell.id: translation(cell) for cell in committed.cells}
    if not any(words.values()):
        return None
    found = copy.copy(executed)
    found.metadata = from_dict({**executed.metadata, "mystnb": PROMPTS})
    found.cells = [copy.copy(cell) for cell in executed.cells]
    for cell in found.cells:
        cell.metadata = from_dict({k: v for k, v in cell.metadata.items() if k != RUSSIAN})
        cell.source = labels.with_russian_quotations(words.get(cell.id) or "") or cell.source
        if "outputs" in cell:
            cell.outputs = [_with_labels(output) for output in cell.outputs]
    return found


def _with_labels(output: NotebookNode) -> NotebookNode:
    """Return an output with the labels of its figure or table in Russian."""
    shown = output.get("data", {}).get("text/html")
    if shown is None:
        return output
    return from_dict({**output, "data": {**output.data, "text/html": labeled.translated(shown)}})


def untranslated(notebook: NotebookNode) -> set[str]:
    """Return the labels of a notebook's figures and tables that have no Russian form."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = (output.get("data", {}).get("text/html", "") for output in outputs)
    return {label for each in shown for label in labeled.untranslated_labels(each)}
