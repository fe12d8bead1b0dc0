"""The draw of mutants, and what their tests say, on a repository of one module."""

import subprocess
from queue import SimpleQueue

import pytest
import yaml

from tests.tools import mutate, nearest
from tests.tools.mutants import mutants

HALF = "def half(x):\n    return x / 2\n\n\ndef name():\n    return 1 + 1\n"


def test_a_draw_is_repeatable_and_a_longer_one_goes_on():
    texts = {"a.py": "x = 1\ny = 2\nz = x < y\n", "b.py": HALF}
    drawn = mutate.draw(5, 0, texts)
    assert len({(mutant.path, mutant.line) for mutant in drawn}) == 5
    assert mutate.draw(5, 0, texts) == drawn
    assert mutate.draw(2, 0, texts) == drawn[:2]
    assert mutate.draw(5, 1, texts) != drawn


def test_a_change_elsewhere_leaves_a_draw_alone():
    text = "".join(f"x{number} = {number}\n" for number in range(20))
    changed = "import os\n" + text.replace("x7 = 7", "x7 = y")
    before = map(str, mutate.draw(20, 3, {"a.py": text}))
    after = map(str, mutate.draw(20, 3, {"a.py": changed, "b.py": "x = y\n"}))
    assert [name for name in before if "x7 " not in name] == list(after)


def test_drawing_and_planning_are_left_out():
    names = mutate.sources().keys()
    assert {"src/okml/ledger/verdicts.py", "src/okml/space_time/entities/tables.py"} <= names
    assert not names & {"src/okml/plotting.py", "src/okml/plan.py", "src/okml/strec/planning.py"}
    assert not [name for name in names if "/figures/" in name or name.endswith("/figures.py")]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of one module with a test that knows half of it."""
    root = tmp_path / "root"
    test = "from okml.half import half\n\n\ndef test_half():\n    assert half(3) == 1.5\n"
    files = {"src/okml/__init__.py": "", "src/okml/half.py": HALF, "tests/test_half.py": test}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # most take longer than the tests
    for module in (mutate, nearest):
        monkeypatch.setattr(module, "ROOT", root)
    return root


@pytest.mark.nightly
@pytest.mark.parametrize(("line", "killer"), [(2, "tests/test_half.py::test_half"), (6, "")])
def test_the_test_that_notices_is_named(repository, tmp_path, line, killer):
    trees = SimpleQueue()
    trees.put(mutate.copy_repository(tmp_path / "tree"))
    broken = [mutant for mutant in mutants("src/okml/half.py", HALF) if mutant.line == line][:2]
    tests = nearest.nearest_tests(repository / "src/okml/half.py")
    assert {mutate.judge(mutant, tests, trees) for mutant in broken} == {killer}
    for tree in (repository, tmp_path / "tree"):
        assert (tree / "src/okml/half.py").read_text() == HALF


@pytest.mark.nightly
def test_a_hang_is_noticed(repository, monkeypatch):
    monkeypatch.setattr(mutate, "HANGS", 1)
    (repository / "tests/test_hang.py").write_text(
        "import time\n\n\ndef test_hang():\n    time.sleep(600)\n"
    )
    assert mutate.failures(repository, "tests/test_hang.py") == ["hangs or crashes"]


@pytest.mark.nightly
def test_a_break_that_no_conftest_survives_is_noticed(repository):
    (repository / "tests/conftest.py").write_text("import okml.absent\n")
    assert mutate.failures(repository, "tests/test_half.py") == ["hangs or crashes"]


def test_a_table_tells_the_equivalent_from_those_that_no_test_notices(tmp_path, monkeypatch):
    killed, equivalent, survivor = drawn = list(mutants("a.py", "x = 0 | 8\n"))
    monkeypatch.setattr(mutate, "REASONS", tmp_path / "reasons.yml")
    mutate.REASONS.write_text(yaml.safe_dump({str(equivalent): "Equivalent: one bit more."}))
    killers = {str(killed): "tests/test_a.py::test_x", str(equivalent): "", str(survivor): ""}
    numbers, *rows = mutate.table(drawn, killers).splitlines()
    assert numbers == "1 of 3 killed, 1 equivalent, 1 survived."
    assert rows[-2:] == [
        "| a.py:1 | `x = 0 \\| 8  [0  ->  (1)]` | Equivalent: one bit more. |",
        "| a.py:1 | `x = 0 \\| 8  [8  ->  (9)]` | No test notices. |",
    ]
