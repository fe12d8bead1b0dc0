"""What moves on other arithmetic, on files of tests that look at the setting."""

import os
import subprocess
import sys

from tests.tools import shake

MOVES = """
import os

import pytest

def test_moves():
    assert "MKL_CBWR" not in os.environ

def test_holds():
    assert os.environ["OMP_NUM_THREADS"]

def test_is_red():
    assert False

@pytest.mark.skipif("MKL_CBWR" in os.environ, reason="has no such kernel")
def test_cannot_run():
    pass
"""


def test_a_table_names_what_differs_from_the_ordinary_run_or_fails_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # most take longer than the tests
    (tmp_path / "test_it.py").write_text(MOVES)
    settings = {"ordinary": shake.Setting({}), "plain": shake.kernels("default", "a", "b")}
    assert shake.moved(shake.listed([tmp_path], "test_*.py"), [], settings) == [
        "| test_it::test_is_red | ordinary | failure |",
        "| test_it::test_is_red | plain | failure |",
        "| test_it::test_moves | plain | failure |",
    ]


def test_files_are_found_in_folders_and_by_name(tmp_path):
    for name in ("b/test_b.py", "b/c/test_c.py", "b/other.py", "a.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = shake.listed([tmp_path / "b", tmp_path / "a.ipynb"], "test_*.py")
    assert found == [str(tmp_path / "b/c/test_c.py"), str(tmp_path / "b/test_b.py")]
    assert shake.listed([tmp_path / "a.ipynb"], "*.ipynb") == [str(tmp_path / "a.ipynb")]


def drawn(*seeds: int, **environment: str) -> list[str]:
    """Draw from every kind of generator in a process of its own; return a text for each seed."""
    code = f"""
import random, numpy as np, torch, tests
for seed in {seeds}:
    torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
    alone = torch.rand(1, generator=torch.Generator().manual_seed(seed))
    rng = np.random.default_rng([seed, seed])
    print(torch.rand(1), np.random.rand(), random.random(), alone, rng.random(), end=" ")
    print(np.random.default_rng(rng) is rng)
"""
    own = {name: value for name, value in os.environ.items() if name != "OKML_OTHER_SEEDS"}
    command = [sys.executable, "-c", code]
    said = subprocess.check_output(command, cwd=shake.ROOT, env=own | environment, text=True)
    return said.splitlines()


def test_each_seed_becomes_another():
    three, thirteen = drawn(3, 13)
    assert drawn(3, OKML_OTHER_SEEDS="10") == [thirteen]
    assert three != thirteen
