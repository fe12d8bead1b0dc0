"""What can be broken, by hand."""

import ast

import pytest

from tests.tools.mutants import mutants

EXAMPLES = {
    "a < b": ["a <= b", "a >= b"],
    "a is not b": ["a is b"],
    "a + b * 2": ["a - b * 2", "a + b / 2", "a + b * 3"],
    "a and not b": ["a or not b", "a and b"],
    "x = c if t else d": ["x = c if not t else d"],
    "[x for x in y if x]": ["[x for x in y if not x]"],
    "x = True": ["x = False"],
    "x = 0.5": ["x = 1.5"],
    "x += y": ["x -= y", "pass"],
    "x = f(a, b, c, key=d)": ["x = f(b, a, c, key=d)"],
    "f(a)": ["pass"],
    "self.x = y": ["pass"],
    "def f():\n    return x": ["def f():\n    return None"],
    "raise ValueError(1 + 1)": ["pass"],
}
WHOLE = [
    "x = f(a, a)",
    "x = min(a, b)",
    "x = pl.corr(a, b, method=m)",
    "x = f(*a, b)",
    "x = y",
    "x: Literal[1] = y",
    "logger.info(1)",
    "x = f'{a + 1}'",
    "if TYPE_CHECKING:\n    f(1, 2)",
    "@cache(1)\ndef f(x: A | B) -> C | D:\n    'Text.'\n    return None",
]


def broken(source: str) -> list[str]:
    """Return a source's mutants in one notation."""
    changed = [mutant.of(source.encode()).decode() for mutant in mutants("a.py", source)]
    return sorted(ast.unparse(ast.parse(text)) for text in changed)


@pytest.mark.parametrize("source", EXAMPLES)
def test_code_is_broken_in_the_known_ways(source):
    assert broken(source) == sorted(EXAMPLES[source])


@pytest.mark.parametrize("source", WHOLE)
def test_what_decides_nothing_stays_whole(source):
    assert broken(source) == []


def test_a_mutant_changes_one_place_and_says_which():
    source = "# é\nx = (\n    a +  # why\n    b\n)\ny = 'ü' if 3 else z\n"
    whole, negated, other = mutants("a.py", source)
    assert whole.of(source.encode()).decode() == "# é\nx = (\n    (a - b)\n)\ny = 'ü' if 3 else z\n"
    assert (whole.line, whole.text) == (3, "a +  # why")
    assert str(other) == "a.py: y = 'ü' if 3 else z  [3  ->  (4)]"
    assert other.of(source.encode()).decode() == source.replace("if 3", "if (4)")
    assert negated.new == "(not 3)"
