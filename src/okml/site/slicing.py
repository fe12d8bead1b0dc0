"""Backward slices of a notebook: what it shows of a run, and the statements that each part needs.

The slice of an expression holds the statements before it that bind the names which it reads, and in
turn those that they read. Slices are found by the names in the syntax alone: nothing is run.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from symtable import SymbolTable, symtable
from typing import Any

from nbformat import NotebookNode

EXPERIMENT, SETTINGS, RECORD, STUDY = "experiment", "settings", "record", "study"
GIVEN = frozenset({EXPERIMENT, SETTINGS, RECORD, *vars(builtins)})
DISPLAYED = ("display_data", "execute_result")
SETTINGS_TABLE = "settings_table"  # the only call that shows the settings alone


@dataclass(frozen=True)
class Statement:
    """A statement of a cell, or an expression whose value the cell shows."""

    cell: int
    node: ast.stmt | ast.expr

    @property
    def is_shown(self) -> bool:
        """Whether the cell shows its value."""
        return isinstance(self.node, ast.expr)

    @cached_property
    def reads(self) -> frozenset[str]:
        """The names of the notebook that it reads, also inside functions and comprehensions."""
        referenced = (
            name.get_name()
            for scope in _scopes(self._names)
            for name in scope.get_symbols()
            if name.is_referenced() and (scope is self._names or name.is_global())
        )
        # The symbol table counts ``x += 1`` as an assignment alone.
        added = (n.target for n in ast.walk(self.node) if isinstance(n, ast.AugAssign))
        return frozenset(referenced) | {n.id for n in added if isinstance(n, ast.Name)}

    @cached_property
    def binds(self) -> frozenset[str]:
        """The names that it assigns or imports."""
        names = self._names.get_symbols()
        return frozenset(n.get_name() for n in names if n.is_assigned() or n.is_imported())

    @cached_property
    def _names(self) -> SymbolTable:
        """The names of the statement; functions and comprehensions have tables of their own."""
        return symtable(ast.unparse(self.node), f"<cell {self.cell}>", "exec")

    @cached_property
    def of_experiment(self) -> frozenset[str]:
        """The attributes of the experiment that it reads: steps, and the study."""
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


def statements_of(notebook: NotebookNode) -> list[Statement]:
    """Return the statements of all code cells whose outputs are what their expressions show."""
    found: list[Statement] = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        own = [Statement(number, node) for node in _split(ast.parse(cell.source).body)]
        shown = [out for out in cell.outputs if out.output_type in DISPLAYED]
        if len(shown) == len(cell.outputs) == sum(part.is_shown for part in own):
            found += own
        else:  # outputs of other calls, which cannot be told apart
            found += [part for part in own if not part.is_shown]
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


def slices_of_results(statements: Sequence[Statement]) -> dict[int, list[int]]:
    """Return the slices of the expressions that show a run and need no more than its record.

    They read the record, its settings or steps of the experiment, but not the study, which has the
    data and the trained models of a run.

    Returns:
        The places of the statements that an expression needs, in order, by the expression's place.
    """
    found = {}
    for place, statement in enumerate(statements):
        if not statement.is_shown:
            continue
        needed = _backward_slice(statements, place)
        read = statement.of_experiment.union(*(statements[n].of_experiment for n in needed))
        shows_run = read or statement.reads & {RECORD, SETTINGS_TABLE}
        if shows_run and STUDY not in read:
            found[place] = needed
    return found


def _backward_slice(statements: Sequence[Statement], end: int) -> list[int]:
    """Return the places of the statements before a statement that it needs, in order."""
    unbound = statements[end].reads - GIVEN
    found = []
    for place in range(end - 1, -1, -1):
        statement = statements[place]
        if not statement.is_shown and statement.binds & unbound:
            found.append(place)
            unbound = (unbound - statement.binds) | (statement.reads - GIVEN)
    return found[::-1]
