"""The cells of a notebook run again on the tables of a record, so that pages show its figures.

A cell of a notebook's results calls a figure or a table with frames of the experiment's steps. The
same call is made here with an experiment whose frames are read from a record, so the notebook is
the list of figures. What a cell shows is drawn again if it follows from the steps, the record and
the settings. It is not drawn again if it uses the study, which has the data and the trained models
of a run.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import chain
from types import SimpleNamespace
from typing import Any

import polars as pl
from nbformat import NotebookNode
from nbformat.v4 import new_output
from pydantic import ValidationError

from okml.chapters import chapter
from okml.errors import OkmlError
from okml.experiment import ChapterExperiment, sources
from okml.ledger import RunRecord
from okml.plotting import Picture
from okml.site.slicing import (
    EXPERIMENT,
    RECORD,
    SETTINGS,
    Statement,
    slices_of_results,
    statements_of,
)
from okml.steps import StepResult


class NotRecordedError(OkmlError):
    """A cell reads something that the record does not hold."""


@dataclass(frozen=True)
class Shown:
    """One output of a cell, as a record shows it."""

    output: NotebookNode | None = None  # None if it is the same in every run, or cannot be drawn
    reason: str = ""  # why it cannot be drawn; empty otherwise


def replay(notebook: NotebookNode, record: RunRecord) -> dict[int, list[Shown]]:
    """Run the cells of an executed notebook's results on a record of its chapter.

    What cannot be drawn raises no error: its reason is kept in :class:`Shown`.

    Returns:
        For each cell that shows something of the record, by its number: what it shows, in the
        order of its outputs.
    """
    statements = statements_of(notebook)
    slices = slices_of_results(statements)
    settings = _settings(record)
    experiment = recorded_experiment(record, settings)
    namespace = {EXPERIMENT: experiment, SETTINGS: settings, RECORD: record}
    results: dict[int, Shown] = {}
    for place in sorted({*slices, *chain(*slices.values())}):
        failed = (results[n] for n in slices.get(place, ()) if results[n].reason)
        results[place] = next(failed, None) or _run(statements[place], namespace)
    return {
        cell: [
            results[place] if place in slices else Shown()
            for place, part in enumerate(statements)
            if part.cell == cell and part.is_shown
        ]
        for cell in sorted({statements[place].cell for place in slices})
    }


def _run(statement: Statement, namespace: dict[str, Any]) -> Shown:
    """Run a statement and return its output, or the reason why it cannot be run on the record."""
    try:
        value = statement.run(namespace)
        return Shown(_output(value) if statement.is_shown else None)
    except OkmlError as error:
        return Shown(reason=error.message)
    except Exception as error:  # an older record may lack a column, an arm, a whole frame
        text = str(error).partition("\n")[0]
        return Shown(
            reason=f"The record cannot be drawn by today's code: {type(error).__name__}, {text}."
        )


def _settings(record: RunRecord) -> Any:
    """Return the settings of a record, without those that have gone since, which no cell reads."""
    kind = type(chapter(record.chapter).profiles()[record.profile])
    values = copy.deepcopy(record.settings)
    while True:
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            gone = [each["loc"] for each in error.errors() if each["type"] == "extra_forbidden"]
            if not gone:
                return _OlderSettings()
            for *path, name in gone:
                found: Any = values
                for key in path:
                    found = found[key]
                del found[name]


class _OlderSettings:
    """Settings that cannot be read as today's."""

    def __getattr__(self, name: str) -> Any:
        raise NotRecordedError("The settings of the record have another form than today's.")


def recorded_experiment(record: RunRecord, settings: Any) -> ChapterExperiment[Any, Any]:
    """Return the experiment of a record, whose steps have the frames that the record keeps.

    It has no study. Reading a frame that the record does not keep raises ``NotRecordedError``.

    Args:
        record: The record.
        settings: The settings of the record, as the chapter's profile of today.
    """
    kind = chapter(record.chapter).experiment
    found: ChapterExperiment[Any, Any] = object.__new__(kind)  # without a study and a folder
    found.profile = settings
    frames = {
        of: pl.DataFrame(record.tables[name].columns)
        for name, of in sources(kind.recorded).items()
        if name in record.tables and record.tables[name].columns  # none of a part left out
    }
    results = {
        name: StepResult(
            metrics=dict(record.metrics),
            differences={metric: dict(of) for metric, of in record.differences.items()},
            frames=_Frames(name, {of[1]: frame for of, frame in frames.items() if of[0] == name}),
        )
        for name in kind.step_names()
    }
    found.steps = SimpleNamespace(results=results)  # type: ignore[assignment]
    found.record = found.record_so_far = lambda: record  # type: ignore[method-assign]
    return found


class _Frames(dict[str, pl.DataFrame]):
    """The frames of a step that a record keeps."""

    def __init__(self, step_name: str, frames: dict[str, pl.DataFrame]) -> None:
        super().__init__(frames)
        self.step_name = step_name

    def __missing__(self, name: str) -> pl.DataFrame:
        raise NotRecordedError(f"The record does not hold the rows {self.step_name}.{name}.")


def _output(value: Any) -> NotebookNode:
    """Return a value as the output of a cell; of a figure only the drawing."""
    if isinstance(value, Picture):
        data = value.html
    elif hasattr(value, "_repr_html_"):
        data = value._repr_html_()
    else:
        return new_output("display_data", data={"text/plain": repr(value)})
    return new_output("display_data", data={"text/html": data})
