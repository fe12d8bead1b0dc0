"""On the second device every chapter measures what it measures on the CPU, and tests pass.

Each test is a process, since the device changes torch for all that follows.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.device import NAME
from tests.second_device.program import run
from tests.second_device.smallest import SMALLEST, TIMED

TOLERANCE = 5e-4  # the largest relative difference was 1.2e-4, of float32 sums in another order
# Tests for any device, and of the device itself; all others run with OKML_TEST_DEVICE=second.
FOR_ANY_DEVICE = (
    "tests/second_device/test_rules.py",
    "tests/second_device/test_bugs.py",
    "tests/test_accelerator.py",
    "tests/training/test_fit.py",
    "tests/training/test_resume.py",
)
pytestmark = pytest.mark.skipif(NAME == "second", reason="starts the second device itself")


@pytest.fixture(scope="module", params=["second", pytest.param("auto", marks=pytest.mark.gpu)])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the numbers of all chapters, on the CPU and on another device."""
    folder = tmp_path_factory.mktemp(request.param)
    run(request.param, "-m", "tests.second_device.chapters", str(folder), *SMALLEST)
    return folder


def check(name: str, there: list[float], on_cpu: list[float], device: str) -> None:
    """Compare a metric with the CPU's; a real GPU draws and rounds differently from it."""
    if device == "auto" or TIMED.search(name):
        assert np.isfinite(there).all(), name
    else:
        np.testing.assert_allclose(there, on_cpu, atol=TOLERANCE, rtol=TOLERANCE, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("chapter", SMALLEST)
def test_a_chapter_measures_what_it_does_on_the_cpu(chapter: str, measured: Path) -> None:
    why = measured / f"{chapter}.txt"
    assert not why.exists(), why.read_text()
    on_cpu, there = json.loads((measured / f"{chapter}.json").read_text()).values()
    assert on_cpu.keys() == there.keys()
    assert len(on_cpu) > 20
    for name, numbers in on_cpu.items():
        check(name, there[name], numbers, measured.name.rstrip("0123456789"))


@pytest.mark.slow
def test_tests_for_any_device_pass() -> None:
    quick = ("-m", "not slow", "-k", "not kill_9")  # processes of a test import all again
    said = run("second", "-m", "pytest", "-q", "-p", "no:cacheprovider", *quick, *FOR_ANY_DEVICE)
    assert "passed" in said
    assert "failed" not in said
