"""What ``make gpu-check`` makes of its parts, and what becomes of one that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.gpu import check
from benchmarks.gpu.check import bring_data, run
from benchmarks.gpu.parts import MINUTES, PARTS, compared
from okml.benchmark import GpuCheck
from okml.chapters import CHAPTERS
from okml.errors import DataError
from tests import scales
from tests.device import NAME
from tests.second_device.test_chapters import COMPUTES
from tests.tools.nearest import ROOT

pytestmark = pytest.mark.skipif(NAME == "second", reason="starts the second device itself")


def test_a_part_that_is_late_or_fails_says_so_and_keeps_its_limit(tmp_path: Path) -> None:
    late = run(PARTS["lightsage"], tiny=True, limit_s=0.5)
    wrong = run(replace(PARTS["sdxl"], name="sdxxl"), tiny=True, limit_s=60)
    assert "took longer than" in late.failed
    assert "ended with 2" in wrong.failed
    assert "invalid choice" in wrong.failed
    GpuCheck.write(tmp_path / "record.json", parts=[late, wrong], tiny=True)
    read = GpuCheck.read(tmp_path / "record.json")
    assert read.parts == (late, wrong)


@pytest.mark.usefixtures("own_data")  # an empty cache, without a network
def test_data_that_cannot_be_had_ends_it_before_its_first_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_data([PARTS["lightsage"]])  # reads none
    monkeypatch.setattr(check, "run", lambda *_: pytest.fail("a part has started"))
    out = tmp_path / "record.json"
    arguments = ["check", "--tiny", "--out", str(out), "lightsage", "chapter periodic_behavior"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(DataError, match="okml data fetch"):
        check.main()
    assert not out.exists()


def test_the_limits_of_all_parts_fit_into_the_time_and_leave_some_to_the_tests() -> None:
    assert sum(part.limit_s for part in PARTS.values()) <= 60 * MINUTES
    assert PARTS["tests"].limit_s >= 180
    chapters = {f"chapter {name}" for name in CHAPTERS}
    assert {*PARTS} == {*COMPUTES, "tests", *chapters}
    assert {PARTS[name].limit_s for name in chapters} == {60 * scales.MINUTES["smoke"]}


def test_a_chapter_runs_on_the_second_device_where_tests_ask_for_it() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import benchmarks.gpu.chapter, okml.accelerator as it; "
         "print(it.pick_device('auto').type)"],
        cwd=ROOT, env=os.environ | {"OKML_TEST_DEVICE": "second"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == "second"


def record(seconds: float, **metrics: float) -> Any:
    estimates = {name: SimpleNamespace(mean=value, unit="ρ") for name, value in metrics.items()}
    return SimpleNamespace(provenance=SimpleNamespace(seconds=seconds), metrics=estimates)


def test_a_chapter_is_shown_beside_the_cpu() -> None:
    rows = list(compared(record(3.0, rho=0.5), record(9.0, rho=0.25)))
    assert [(row.what, row.value, row.beside, row.unit) for row in rows] == [
        ("the whole run", 3.0, 9.0, "s"), ("rho", 0.5, 0.25, "ρ"),
    ]  # fmt: skip
