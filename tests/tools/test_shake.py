"""Files in another order, and notebooks that compute anew, in a repository of a few."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.tools import shake
from tests.tools.nearest import ROOT

pytestmark = pytest.mark.nightly

# The order of the files is neither that of their sizes nor that of their numbers of tests.
TESTS = {"a": 1, "b": 3, "c": 2}
TEST = """
def test_{name}_{number}():
    with open("order", "a") as file:
        file.write("{name}")
"""
# A step is kept with the kernels that computed it, and shown again where it is kept.
CELL = """
import os
from pathlib import Path

step = Path("../_build/runs/some/smoke/step")
if not step.exists():
    step.parent.mkdir(parents=True)
    step.write_text(os.environ.get("MKL_CBWR", "ordinary"))
print(step.read_text())
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty repository with the order and the options of this one."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = browser\n")
    monkeypatch.setattr(shake, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("MKL_CBWR", "OKML_FILES_AS_GIVEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def chosen(*names):
    return {name: shake.SETTINGS[name] for name in names}


def test_files_are_run_in_the_reverse_of_their_order(root):
    for name, count in TESTS.items():
        text = "".join(TEST.format(name=name, number=number) for number in range(count))
        (root / f"test_{name}.py").write_text(text)
    files = shake.listed(["."], "test_*.py")
    assert shake.moved(files, [*shake.IN_PARALLEL, "1"], chosen("ordinary", "other order")) == []
    assert (root / "order").read_text() == "bbbcca" + "ccbbba"


def test_a_notebook_shows_no_step_that_another_setting_kept(root):
    stored = new_output("stream", name="stdout", text="ordinary\n")
    cell = new_code_cell(CELL, outputs=[stored], execution_count=1)
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    Path("notebooks").mkdir()
    nbformat.write(
        new_notebook(cells=[cell], metadata={"kernelspec": kernel}), "notebooks/some.ipynb"
    )
    files = shake.listed(["notebooks"], "*.ipynb")
    rows = shake.moved(files, shake.NBVAL, chosen("ordinary", "plain kernels", "other order"))
    assert [row.split(" | ")[1] for row in rows] == ["plain kernels"]
