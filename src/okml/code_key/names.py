"""The free names of a piece of syntax: those that its own scopes do not bind."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

Function = ast.FunctionDef | ast.AsyncFunctionDef
Import = ast.Import | ast.ImportFrom
Chain = tuple[str, ...]  # names joined by dots
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Names(ast.NodeVisitor):
    """Collects the free names of a syntax tree.

    Args:
        package: The package that holds the module; relative imports start from it.

    Attributes:
        chains: The global names, each with the attributes that follow it.
        imports: The dotted names that imports inside functions bind, by bound name.
        words: The names of attributes, and the string constants.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self.chains: set[Chain] = set()
        self.imports: dict[str, list[Chain]] = defaultdict(list)
        self.words: set[str] = set()
        self._scopes: list[set[str]] = []

    def visit_Name(self, node: ast.Name) -> None:
        """Collect a name that no enclosing scope binds."""
        self._take(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Collect a name with all attributes that follow it."""
        attributes: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            attributes.insert(0, base.attr)
            base = base.value
        self.words.update(attributes)
        if isinstance(base, ast.Name):
            self._take(base.id, *attributes)
        else:
            self.visit(base)

    def _take(self, name: str, *attributes: str) -> None:
        if not any(name in scope for scope in self._scopes):
            self.chains.add((name, *attributes))

    def visit_Constant(self, node: ast.Constant) -> None:
        """Collect a string: it may be the name of a method or of a data set."""
        if isinstance(node.value, str):
            self.words.add(node.value)

    def visit_Import(self, node: Import) -> None:
        """Collect an import inside a function."""
        for bound, target in imported(node, self.package):
            self.imports[bound].append(target)

    visit_ImportFrom = visit_Import  # noqa: N815 - as ast calls it

    def visit_FunctionDef(self, node: Function) -> None:
        """Visit the body in a scope of its own."""
        self._all(node.decorator_list)
        self._inside(node.args, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - as ast calls it

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Visit the body in a scope of its own."""
        self._inside(node.args, [node.body])

    def _inside(self, given: ast.arguments, body: Sequence[ast.AST]) -> None:
        self._all((*given.defaults, *filter(None, given.kw_defaults)))
        arguments = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
        self._scopes.append(stored(*body) | {argument.arg for argument in arguments if argument})
        self._all(body)
        self._scopes.pop()

    def generic_visit(self, node: ast.AST) -> None:
        """Visit all other syntax; a comprehension opens a scope of its own."""
        if not isinstance(node, COMPREHENSIONS):
            super().generic_visit(node)
            return
        self.visit(node.generators[0].iter)  # outside of the scope
        self._scopes.append(stored(*(generator.target for generator in node.generators)))
        super().generic_visit(node)
        self._scopes.pop()

    def _all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)


def imported(node: Import, package: str) -> Iterator[tuple[str, Chain]]:
    """Yield the names that an import binds, and the dotted names that they refer to.

    Args:
        node: The import statement.
        package: The package that holds the module; relative imports start from it.
    """
    if isinstance(node, ast.Import):
        for alias in node.names:
            full = tuple(alias.name.split("."))
            yield (alias.asname, full) if alias.asname else (full[0], full[:1])
        return
    base = tuple(node.module.split(".")) if node.module else ()
    if node.level:
        above = package.split(".")
        base = (*above[: len(above) - node.level + 1], *base)
    for alias in node.names:
        yield alias.asname or alias.name, (*base, alias.name)


def stored(*trees: ast.AST) -> set[str]:
    """Return the names that trees bind in their own scope, except by imports."""
    bound: set[str] = set()
    elsewhere: set[str] = set()
    waiting = list(trees)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bound.add(node.name)
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                inside = (inner for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr))
                bound.update(inner.target.id for inner in inside)
                continue
            case ast.Global():
                elsewhere.update(node.names)
            case ast.Name(ctx=ast.Store() | ast.Del()):
                bound.add(node.id)
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name:
                bound.add(node.name)
            case ast.MatchMapping() if node.rest:
                bound.add(node.rest)
        waiting.extend(ast.iter_child_nodes(node))
    return bound - elsewhere
