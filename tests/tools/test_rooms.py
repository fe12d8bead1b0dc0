"""What a run of pytest says about its rooms."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.tools.nearest import ROOT
from tests.tools.rooms import room_of, tree_seconds

TESTS = """
import pytest

@pytest.fixture
def broken():
    raise OSError

def test_a():
    pass

def test_b():
    assert False

def test_c(broken):
    pass

def test_d():
    pytest.skip("so")
"""


def test_rooms_are_folders_of_tests_and_notebooks():
    assert room_of("tests/add/chapter/test_images.py::test_one[a/b]") == "tests/add"
    assert room_of("tests/test_cli.py::test_one") == "tests"
    assert room_of("notebooks/add.ipynb::Cell 3") == "notebooks/add.ipynb"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_each_room_starts_and_ends_once(tmp_path, workers, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # most take longer than the tests
    for name in ("one", "two"):
        file = tmp_path / "tests" / name / "test_it.py"
        file.parent.mkdir(parents=True)
        file.write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.tools.rooms", "-p", "xdist"]
    command += ["-n", workers, "--dist", "loadfile"]
    done = subprocess.run(
        [*command, "--rootdir", tmp_path, "--import-mode=importlib", tmp_path / "tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    times = r"(?:, \d\.\d s, \d\.\d of a processor)?"
    said = re.findall(rf"^\d\d:\d\d:\d\d  (.*?){times}$", done.stdout, re.M)
    for name in ("one", "two"):
        of_room = [line for line in said if f"tests/{name}" in line]
        assert [line.replace(f"{tmp_path}/", "") for line in of_room] == [
            f"tests/{name} starts",
            f"tests/{name}/test_it.py::test_b failed",
            f"tests/{name}/test_it.py::test_c failed",
            f"tests/{name} ends: 4 tests",
        ]
    assert "2 failed, 2 passed, 2 skipped, 2 errors" in done.stdout
    assert re.search(r"^FAILED .*tests/one/test_it.py::test_b", done.stdout, re.M)


def test_the_processor_seconds_of_other_processes_count_before_and_after_their_end():
    works = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    before = tree_seconds()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", works], **pipes) as other:
        other.stdout.readline()
        assert tree_seconds() - before > 0.25
        other.stdin.write(b"\n")
        other.stdin.close()
    assert tree_seconds() - before > 0.25
