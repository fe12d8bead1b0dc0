"""The parts of a module: functions, classes, constants and imports, without docstrings."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from okml.code_key.names import Chain, Function, Names, imported, stored

NO_SYNTAX = frozenset({"ctx", "kind", "type_comment", "type_params"})  # fields of syntax trees


@dataclass(eq=False)
class CodePart:
    """A function, the body of a class, a method or a constant.

    Attributes:
        module: The module that defines it.
        name: The qualified name inside the module; empty for the module's import-time statements.
        trees: The statements that bind the name, one for each binding.
        methods: The methods of a class; empty for other kinds.
    """

    module: Module
    name: str
    trees: list[ast.stmt] = field(default_factory=list)
    methods: list[CodePart] = field(default_factory=list)

    @property
    def full_name(self) -> str:
        """The dotted name, with the module's; that of the module for import-time statements."""
        return f"{self.module.name}.{self.name}" if self.name else self.module.name

    @cached_property
    def names(self) -> Names:
        """The names that the statements use."""
        found = Names(self.module.package)
        for tree in self.trees:
            found.visit(tree)
        return found


class Module:
    """A module as a set of parts.

    Args:
        name: The dotted name.
        is_package: Whether it is the ``__init__`` of a package.
        tree: The parsed source.

    Attributes:
        package: The dotted name of the package that holds the module, or that the module is.
        parts: The parts by qualified name; methods are called ``Class.method``.
        imports: The dotted names that each imported name may stand for.
    """

    def __init__(self, name: str, is_package: bool, tree: ast.Module) -> None:
        self.name = name
        self.package = name if is_package else name.rpartition(".")[0]
        self.parts: dict[str, CodePart] = {}
        self.imports: dict[str, list[Chain]] = defaultdict(list)
        for statement in _Bare().visit(tree).body:
            self._add(statement)

    def _add(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Import() | ast.ImportFrom():
                for bound, target in imported(statement, self.package):
                    self.imports[bound].append(target)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._part(statement.name).trees.append(statement)
            case ast.ClassDef():
                self._add_class(statement)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pass
            case _:
                names = sorted(stored(statement))  # a set's order differs between processes
                for name in names if _only_binds(statement) else (*names, ""):
                    self._part(name).trees.append(statement)

    def _add_class(self, statement: ast.ClassDef) -> None:
        methods = [inner for inner in statement.body if isinstance(inner, Function)]
        statement.body = [inner for inner in statement.body if not isinstance(inner, Function)]
        owner = self._part(statement.name)
        owner.trees.append(statement)
        for method in methods:
            part = self._part(f"{statement.name}.{method.name}")
            if not part.trees:
                owner.methods.append(part)
            part.trees.append(method)

    def _part(self, name: str) -> CodePart:
        return self.parts.setdefault(name, CodePart(self, name))


def _only_binds(statement: ast.stmt) -> bool:
    """Tell whether a statement is an assignment to names."""
    return isinstance(statement, ast.Assign) and not any(
        isinstance(node, ast.Attribute | ast.Subscript)
        for target in statement.targets
        for node in ast.walk(target)
    )


class _Bare(ast.NodeTransformer):
    """Removes syntax that changes no number: docstrings, annotations in functions, ``pass``.

    Annotations in the body of a class are kept, since they define fields of data classes.
    """

    def visit_Pass(self, node: ast.Pass) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_FunctionDef(self, node: Function) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - as ast calls it

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if node.value is None else ast.Assign([node.target], self.visit(node.value))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        bare = (
            inner if isinstance(inner, ast.AnnAssign) else self.visit(inner) for inner in node.body
        )
        node.body = [inner for inner in bare if inner is not None]
        return node


def plain(node: Any) -> Any:
    """Return syntax as nested lists, without positions and empty fields.

    Newer versions of Python add fields to syntax trees, and omit empty ones in their own dumps;
    the result here does not depend on the version.
    """
    if isinstance(node, ast.AST):
        fields = {
            name: plain(value)
            for name, value in ast.iter_fields(node)
            if name not in NO_SYNTAX and value is not None and value != []
        }
        return [type(node).__name__, fields]
    if isinstance(node, list):
        return [plain(value) for value in node]
    return [type(node).__name__, repr(node)]
