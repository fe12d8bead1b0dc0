"""On the second device every chapter measures what it measures on the CPU, and tests pass.

Each test is a process, since the device changes torch for all that follows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.device import GPU, NAME
from tests.second_device.program import run
from tests.second_device.smallest import SMALLEST, TIMED

TOLERANCE = 2e-4  # the largest difference was 8e-5, in add; in the other quick chapters 2e-7
# Tests for any device, and of the device itself; all others run with OKML_TEST_DEVICE=second.
FOR_ANY_DEVICE = (
    "tests/second_device/test_rules.py",
    "tests/second_device/test_bugs.py",
    "tests/test_accelerator.py",
    "tests/training/test_fit.py",
    "tests/training/test_resume.py",
)
# They have the most steps, and take minutes on a device that Python plays.
LONG = ("add", "space_time", "video_workshop")
QUICK = [chapter for chapter in SMALLEST if chapter not in LONG]
# Parts of `make gpu-check` that need no data: the others are tests and smoke runs of chapters.
COMPUTES = ("sdxl", "llama", "strec", "sasrec", "lightsage")
pytestmark = pytest.mark.skipif(NAME == "second", reason="starts the second device itself")


@pytest.fixture(scope="module", params=["second", pytest.param("auto", marks=pytest.mark.gpu)])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The device, and the folder of the numbers of all quick chapters and parts."""
    folder = tmp_path_factory.mktemp(request.param)
    names = [*QUICK, *(f"part {name}" for name in COMPUTES)]
    run(request.param, "-m", "tests.second_device.chapters", str(folder), *names)
    return request.param, folder


def found(folder: Path, name: str) -> dict[str, Any]:
    """Return what a chapter or a part has found, by device."""
    why = folder / f"{name}.txt"
    assert not why.exists(), why.read_text()
    by_device: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return by_device


def compare(device: str, folder: Path, chapter: str) -> None:
    """Compare the numbers of two devices; a real GPU draws and rounds differently from a CPU."""
    on_cpu, there = found(folder, chapter).values()
    assert on_cpu.keys() == there.keys()
    assert len(on_cpu) > 20
    for name, numbers in on_cpu.items():
        if device == "auto" or TIMED.search(name):
            assert np.isfinite(there[name]).all(), name
        else:
            np.testing.assert_allclose(
                there[name], numbers, atol=TOLERANCE, rtol=TOLERANCE, err_msg=name
            )


@pytest.mark.slow
@pytest.mark.parametrize("chapter", QUICK)
def test_a_chapter_measures_what_it_does_on_the_cpu(chapter: str, measured: Any) -> None:
    compare(*measured, chapter)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPUTES)
def test_a_part_of_the_gpu_check_computes(name: str, measured: Any) -> None:
    device, folder = measured
    ((there, values),) = found(folder, f"part {name}").items()
    assert there == (GPU.type if device == "auto" else device)
    assert len(values) >= 2
    assert np.isfinite(values).all()


@pytest.mark.slow
def test_tests_for_any_device_pass() -> None:
    quick = ("-m", "not slow", "-k", "not kill_9")  # processes of a test import all again
    said = run("second", "-m", "pytest", "-q", "-p", "no:cacheprovider", *quick, *FOR_ANY_DEVICE)
    assert "passed" in said
    assert "failed" not in said


@pytest.mark.nightly
@pytest.mark.parametrize("chapter", LONG)
@pytest.mark.parametrize("device", ["second", pytest.param("auto", marks=pytest.mark.gpu)])
def test_a_long_chapter_measures_what_it_does_on_the_cpu(
    device: str, chapter: str, tmp_path: Path
) -> None:
    run(device, "-m", "tests.second_device.chapters", str(tmp_path), chapter)
    compare(device, tmp_path, chapter)
