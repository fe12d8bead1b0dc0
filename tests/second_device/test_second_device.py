"""Tests for any device pass on the second device.

They run in a process of their own, since the device changes torch for all that follows.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.device import NAME
from tests.second_device.smallest import LONG, QUICK
from tests.second_device.test_chapters import COMPUTES
from tests.second_device.test_trainings import TRAINED
from tests.tools.nearest import ROOT

CHAPTERS = "tests/second_device/test_chapters.py"
TRAININGS = "tests/second_device/test_trainings.py"
# Tests for any device, and of the device itself; all others run with OKML_TEST_DEVICE=second.
FOR_ANY_DEVICE = (
    CHAPTERS,
    TRAININGS,
    "tests/second_device/test_rules.py",
    "tests/second_device/test_bugs.py",
    "tests/test_accelerator.py",
    # A task that keeps tensors of its own in a checkpoint.
    "tests/periodic_behavior/test_dynamics.py::"
    "test_a_training_that_was_interrupted_goes_on_as_if_it_were_not",
)
LIMIT_S = 1800  # that only a program which hangs reaches, however busy the machine
pytestmark = pytest.mark.skipif(NAME == "second", reason="starts the second device itself")


def passed(*arguments: str) -> str:
    """Run tests on the second device; return what pytest says, such as who passed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rp", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT, env=os.environ | {"OKML_TEST_DEVICE": "second", "TQDM_DISABLE": "1"},
        capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_tests_for_any_device_pass() -> None:
    said = passed("-m", "gpu or not slow", *FOR_ANY_DEVICE)
    assert said.count(f"PASSED {CHAPTERS}") == len(QUICK) + len(COMPUTES)
    assert said.count(f"PASSED {TRAININGS}") == len(TRAINED)


@pytest.mark.nightly
def test_the_loop_of_trainings_passes_its_tests() -> None:
    """Each time it runs in those of chapters and parts, and in two that bugs must break."""
    loop = ("tests/training/test_fit.py", "tests/training/test_resume.py")
    passed("-k", "not kill_9", *loop)  # a kill imports all again


@pytest.mark.nightly
def test_long_chapters_measure_what_they_do_on_the_cpu() -> None:
    assert passed("-m", "nightly", CHAPTERS).count(f"PASSED {CHAPTERS}") == len(LONG)
