"""The cells of a notebook run again on the tables of a record, so that pages show its figures.

A cell of a notebook's results calls a figure or a table with frames of the experiment's steps. The
same call is made here with an experiment whose frames are read from a record, so the notebook is
the list of figures. What a cell shows is drawn again if it follows from the steps, the record and
the settings. It is not drawn again if it uses the study, which has the data and the trained models
of a run.
"""

from __future__ import annotations

import ast
import builtins
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from symtable import SymbolTable, symtable
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
from okml.steps import StepResult

EXPERIMENT, SETTINGS, RECORD, STUDY = "experiment", "settings", "record", "study"
GIVEN = frozenset({EXPERIMENT, SETTINGS, RECORD, *vars(builtins)})
DISPLAYED = ("display_data", "execute_result")
SETTINGS_TABLE = "settings_table"  # the only call that shows the settings alone


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
    statements = _statements(notebook)
    slices = _of_record(statements)
    cells = {statements[number].cell for number in slices}
    settings = _settings(record)
    experiment = recorded_experiment(record, settings)
    names = {EXPERIMENT: experiment, SETTINGS: settings, RECORD: record}  # what cells find
    drawn: dict[int, Shown] = {}
    for number in sorted({*slices, *(n for needed in slices.values() for n in needed)}):
        statement = statements[number]
        failed = (drawn[n] for n in slices.get(number, ()) if drawn[n].reason)
        if (lacking := next(failed, None)) is not None:
            drawn[number] = lacking
            continue
        try:
            value = statement.run(names)
            drawn[number] = Shown(_output(value) if statement.shows else None)
        except OkmlError as error:
            drawn[number] = Shown(reason=error.message)
        except Exception as error:  # an older record may lack a column, an arm, a whole frame
            text = str(error).partition("\n")[0]
            reason = f"The record cannot be drawn by today's code: {type(error).__name__}, {text}."
            drawn[number] = Shown(reason=reason)
    return {
        cell: [
            drawn[n] if n in slices else Shown()
            for n, part in enumerate(statements)
            if part.cell == cell and part.shows
        ]
        for cell in sorted(cells)
    }


@dataclass(frozen=True)
class _Statement:
    """A statement of a cell, or an expression whose value the cell shows."""

    cell: int
    node: ast.stmt | ast.expr

    @property
    def shows(self) -> bool:
        return isinstance(self.node, ast.expr)

    @cached_property
    def reads(self) -> frozenset[str]:
        added = (n.target for n in ast.walk(self.node) if isinstance(n, ast.AugAssign))
        of_scopes = (
            name.get_name()
            for scope in _scopes(self._names)
            for name in scope.get_symbols()
            if name.is_referenced() and (scope is self._names or name.is_global())
        )
        return frozenset(of_scopes) | {n.id for n in added if isinstance(n, ast.Name)}

    @cached_property
    def writes(self) -> frozenset[str]:
        names = self._names.get_symbols()
        return frozenset(n.get_name() for n in names if n.is_assigned() or n.is_imported())

    @cached_property
    def _names(self) -> SymbolTable:
        """The names of the statement; those of its comprehensions and functions are their own."""
        return symtable(ast.unparse(self.node), f"<cell {self.cell}>", "exec")

    @cached_property
    def asks(self) -> frozenset[str]:
        """The attributes of the experiment that the statement reads."""
        return frozenset(
            n.attr
            for n in ast.walk(self.node)
            if isinstance(n, ast.Attribute)
            and isinstance(n.value, ast.Name)
            and n.value.id == EXPERIMENT
        )

    def run(self, names: dict[str, Any]) -> Any:
        """Run the statement, or return the value of the expression."""
        where = f"<cell {self.cell}>"
        if isinstance(self.node, ast.expr):
            return eval(compile(ast.Expression(self.node), where, "eval"), names)
        exec(compile(ast.Module([self.node], []), where, "exec"), names)
        return None


def _scopes(table: SymbolTable) -> Iterator[SymbolTable]:
    """Yield a table of names and those of all scopes inside."""
    yield table
    for inner in table.get_children():
        yield from _scopes(inner)


def _statements(notebook: NotebookNode) -> list[_Statement]:
    """Return the statements of all code cells whose outputs are what their expressions show."""
    found: list[_Statement] = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        own = [_Statement(number, node) for node in _split(ast.parse(cell.source).body)]
        shown = [out for out in cell.outputs if out.output_type in DISPLAYED]
        if len(shown) == len(cell.outputs) == sum(part.shows for part in own):
            found += own
        else:  # outputs of other calls, which cannot be told apart
            found += [part for part in own if not part.shows]
    return found


def _split(body: Sequence[ast.stmt]) -> Iterator[ast.stmt | ast.expr]:
    """Yield the statements of a cell; what it shows comes as expressions."""
    for node in body:
        if not isinstance(node, ast.Expr):
            yield node
        elif isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "display":
            yield from node.value.args
        elif node is body[-1]:
            yield node.value


def _of_record(statements: Sequence[_Statement]) -> dict[int, list[int]]:
    """Return the expressions that show a run alone, each with the statements that it needs."""
    found = {}
    for number, statement in enumerate(statements):
        if not statement.shows:
            continue
        needed = _slice(statements, number)
        asks = statement.asks.union(*(statements[n].asks for n in needed))
        of_run = asks or {RECORD, SETTINGS_TABLE} & statement.reads
        if of_run and STUDY not in asks:
            found[number] = needed
    return found


def _slice(statements: Sequence[_Statement], target: int) -> list[int]:
    """Return the statements before a statement that it needs, in order."""
    needed = statements[target].reads - GIVEN
    found = []
    for number in range(target - 1, -1, -1):
        statement = statements[number]
        if not statement.shows and statement.writes & needed:
            found.append(number)
            needed = (needed - statement.writes) | (statement.reads - GIVEN)
    return found[::-1]


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
