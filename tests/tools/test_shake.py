"""What moves on other arithmetic, on files of tests that look at the setting."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.tools import shake

MOVES = """
import os

def test_moves():
    assert "MKL_CBWR" not in os.environ

def test_holds():
    assert os.environ["OMP_NUM_THREADS"]

def test_is_red():
    assert False
"""


def test_a_table_names_what_differs_from_the_ordinary_run_or_fails_in_it(tmp_path):
    (tmp_path / "test_it.py").write_text(MOVES)
    settings = {"ordinary": shake.Setting({}), "plain": shake.kernels("default", "a", "b", "c")}
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


DRAWS = """
import random, numpy as np, torch
torch.manual_seed(3), np.random.seed(3), random.seed(3)
print(torch.rand(1).item(), np.random.rand(), random.random())
print(torch.rand(1, generator=torch.Generator().manual_seed(4)).item())
rng = np.random.default_rng([5, 6])
print(rng.random(), np.random.default_rng(rng) is rng)
"""


@pytest.mark.parametrize("shift", [0, 10])
def test_each_seed_becomes_another(shift):
    code = "import tests.tools.other_seeds\n" + DRAWS
    environment = os.environ | {"OKML_OTHER_SEEDS": str(shift), "PYTHONPATH": str(shake.ROOT)}
    printed = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    torch.manual_seed(3 + shift)
    np.random.seed(3 + shift)  # noqa: NPY002
    random.seed(3 + shift)
    generator = torch.Generator().manual_seed(4 + shift)
    rng = np.random.default_rng([5 + shift, 6 + shift])
    assert printed.split() == [
        str(value)
        for value in (
            torch.rand(1).item(),
            np.random.rand(),  # noqa: NPY002
            random.random(),
            torch.rand(1, generator=generator).item(),
            rng.random(),
            True,
        )
    ]
