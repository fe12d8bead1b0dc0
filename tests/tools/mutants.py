"""The ways to break a line of Python that a referee would call a fault."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from textwrap import shorten

LOGGING = {"debug", "info", "warning", "warn", "error", "exception", "log"}
SYMMETRIC = {"min", "max", "minimum", "maximum", "gcd", "isclose", "corr"}
NOT_CODE = {"annotation", "returns", "decorator_list"}
FLIPS: dict[type, list[type]] = {
    ast.Lt: [ast.LtE, ast.GtE], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt], ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is], ast.In: [ast.NotIn], ast.NotIn: [ast.In], ast.And: [ast.Or],
    ast.Or: [ast.And], ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div],
    ast.Div: [ast.Mult], ast.FloorDiv: [ast.Mult], ast.Mod: [ast.FloorDiv], ast.Pow: [ast.Mult],
    ast.MatMult: [ast.Mult], ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd],
    ast.BitXor: [ast.BitOr], ast.LShift: [ast.RShift], ast.RShift: [ast.LShift],
}  # fmt: skip


def changes(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield each part of a node that can be broken, and what to put there."""
    match node:
        case ast.Compare(left, [op, *ops], right):
            yield from ((node, ast.Compare(left, [to(), *ops], right)) for to in FLIPS[type(op)])
        case ast.BoolOp(op, values):
            yield node, ast.BoolOp(FLIPS[type(op)][0](), values)
        case ast.BinOp(left, op, right):
            yield node, ast.BinOp(left, FLIPS[type(op)][0](), right)
        case ast.AugAssign(target, op, value):
            yield node, ast.AugAssign(target, FLIPS[type(op)][0](), value)
            yield node, ast.Pass()
        case ast.UnaryOp(ast.Not(), operand):
            yield node, operand
        case ast.If(test) | ast.IfExp(test) | ast.While(test) | ast.comprehension(ifs=[test, *_]):
            yield test, ast.UnaryOp(ast.Not(), test)
        case ast.Constant(bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield node, ast.Constant(value + 1)
        case ast.Call(func, [one, other, *rest], keywords) if ast.dump(one) != ast.dump(other):
            starred = isinstance(one, ast.Starred) or isinstance(other, ast.Starred)
            if not starred and ast.unparse(func).split(".")[-1] not in SYMMETRIC:
                yield node, ast.Call(func, [other, one, *rest], keywords)
        case ast.Return(ast.expr() as value) if ast.unparse(value) != "None":
            yield node, ast.Return(ast.Constant(None))
        case ast.Expr(ast.Call()) | ast.Raise() | ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield node, ast.Pass()


def breakable(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and what lies in it, but no type, decorator, formatted text, message or log."""
    match node:
        case ast.JoinedStr() | ast.If(ast.Name("TYPE_CHECKING")):
            return
        case ast.Expr(ast.Call(ast.Attribute(attr=name))) if name in LOGGING:
            return
    yield node
    for field, value in [] if isinstance(node, ast.Raise) else ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in NOT_CODE:
                yield from breakable(child)


@dataclass(frozen=True)
class Mutant:
    """A change of one line of a file: the bytes from ``start`` to ``end`` become ``new``."""

    path: str
    line: int
    text: str  # of the line
    old: str
    new: str
    start: int
    end: int

    def __str__(self) -> str:  # without the line's number, which moves with what stands above it
        old, new = (shorten(part, 70, placeholder=" …") for part in (self.old, self.new))
        return f"{self.path}: {self.text}  [{old}  ->  {new}]"

    def of(self, source: bytes) -> bytes:
        """Return the source with this change."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Yield what can be broken in a file."""
    lines = source.encode().splitlines(keepends=True)
    starts = list(accumulate(map(len, lines), initial=0))
    for part, to in (change for node in breakable(ast.parse(source)) for change in changes(node)):
        text = lines[part.lineno - 1].decode().strip()
        new = f"({ast.unparse(to)})" if isinstance(to, ast.expr) else ast.unparse(to)
        start = starts[part.lineno - 1] + part.col_offset
        end = starts[part.end_lineno - 1] + part.end_col_offset
        yield Mutant(path, part.lineno, text, ast.unparse(part), new, start, end)
