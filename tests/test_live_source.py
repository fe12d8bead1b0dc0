"""The code that a notebook shows is the code that it runs."""

import inspect

import pytest

from okml.errors import ParameterError
from okml.live_source import block_around, show_source, without_docstrings


class Doubled:
    """A class whose words are not shown."""

    def call(self, text: str = '"""no docstring"""') -> str:
        """Return the text twice."""

        # Why the text is doubled is worth showing.
        return text * 2


def run(source: str) -> type:
    names: dict = {}
    exec(source, names)
    return names["Doubled"]


def test_what_is_shown_does_what_the_package_does():
    shown = without_docstrings(inspect.getsource(Doubled))
    assert run(shown)().call() == Doubled().call()


def test_comments_stay_and_docstrings_go():
    shown = without_docstrings(inspect.getsource(Doubled.call))
    assert shown.splitlines() == [
        'def call(self, text: str = \'"""no docstring"""\') -> str:',
        "    # Why the text is doubled is worth showing.",
        "    return text * 2",
    ]


@pytest.mark.parametrize("code", ["def f():\n    '''All of it.'''", "class A:\n    x = 1"])
def test_code_that_needs_its_docstring_or_has_none_is_left_alone(code):
    assert without_docstrings(code) == code


def test_a_cell_displays_the_code_under_its_full_name(monkeypatch):
    shown = []
    monkeypatch.setattr("okml.live_source.display", lambda data, raw: shown.append(data))
    show_source(Doubled, Doubled.call)
    names = [output["text/plain"] for output in shown]
    assert names == [f"source of {__name__}.Doubled", f"source of {__name__}.Doubled.call"]
    code = shown[1]["text/markdown"].partition("```python\n")[2].removesuffix("\n```")
    assert code == without_docstrings(inspect.getsource(Doubled.call))


NESTED = """def total(rows):
    all_of_it = 0
    for row in rows:
        for value in row:
            if value > 0:
                all_of_it += value
        all_of_it -= 1
    return all_of_it
"""


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("+= value", "if value > 0:\n    all_of_it += value"),
        ("for value", "for value in row:\n    if value > 0:\n        all_of_it += value"),
        ("return", NESTED.rstrip()),
    ],
)
def test_only_the_innermost_block_around_a_line_is_shown(text, block):
    assert block_around(NESTED, text) == block


@pytest.mark.parametrize("text", ["all_of_it", "nowhere"])
def test_the_line_must_be_one(text):
    with pytest.raises(ParameterError, match="name one line"):
        block_around(NESTED, text)


def test_a_cell_may_display_a_part(monkeypatch):
    shown = []
    monkeypatch.setattr("okml.live_source.display", lambda data, raw: shown.append(data))
    show_source(block_around, around="raise ParameterError")
    code = shown[0]["text/markdown"].partition("```python\n")[2]
    assert code.startswith("if len(holding) != 1:\n    raise ParameterError(")
