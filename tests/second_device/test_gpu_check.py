"""What ``make gpu-check`` makes of its parts, and what becomes of one that fails."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import check, parts
from benchmarks.gpu.check import bring_data, run
from benchmarks.gpu.parts import MINUTES, PARTS, compared
from okml.benchmark import GpuCheck, GpuPart
from okml.chapters import CHAPTERS
from okml.errors import DataError
from tests import scales
from tests.device import NAME
from tests.periodic_behavior.tiny import put_fashion
from tests.second_device.test_chapters import COMPUTES, FEWEST, TOLERANCE
from tests.tools.own_data import OwnData

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


@pytest.fixture
def on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the programs that a part starts know the second device, and train without workers."""
    monkeypatch.setenv("OKML_TEST_DEVICE", "second")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
@pytest.mark.usefixtures("on_the_device")
def test_a_chapter_has_the_numbers_of_the_cpu_at_smoke(
    own_data: OwnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_fashion(own_data, 32)
    monkeypatch.delenv("OKML_OTHER_SEEDS", raising=False)  # the program for the CPU has no tests
    records: list[Any] = []
    monkeypatch.setattr(parts, "compared", lambda *pair: records.extend(pair) or compared(*pair))
    seconds, *rows = PARTS["chapter periodic_behavior"].rows(True)
    assert [record.provenance.device for record in records] == ["second", "cpu"]
    assert min(seconds.value, seconds.beside or 0) > 0
    assert len(rows) >= FEWEST["periodic_behavior"]
    found, expected = (
        np.array([getattr(row, name) for row in rows], dtype=np.float64)  # None becomes NaN
        for name in ("value", "beside")
    )
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.usefixtures("on_the_device")
def test_the_marked_tests_are_counted_and_pass() -> None:
    counted = {row.what: row.value for row in PARTS["tests"].rows(True)}
    assert counted["tests failed"] == 0
    assert counted["tests passed"] >= 11
    assert counted["tests skipped"] >= 1  # what needs a compiler for the device


def record(seconds: float, **metrics: float) -> Any:
    estimates = {name: SimpleNamespace(mean=value, unit="ρ") for name, value in metrics.items()}
    return SimpleNamespace(provenance=SimpleNamespace(seconds=seconds), metrics=estimates)


def test_a_chapter_is_shown_beside_the_cpu() -> None:
    rows = list(compared(record(3.0, rho=0.5), record(9.0, rho=0.25)))
    assert [(row.what, row.value, row.beside, row.unit) for row in rows] == [
        ("the whole run", 3.0, 9.0, "s"), ("rho", 0.5, 0.25, "ρ"),
    ]  # fmt: skip


def test_what_is_undefined_or_not_on_a_cpu_has_a_row_that_can_be_read(tmp_path: Path) -> None:
    there, here = record(3.0, slope=float("nan"), card_gb=2.0), record(9.0, slope=float("nan"))
    rows = tuple(compared(there, here))
    assert [(row.value, row.beside) for row in rows[1:]] == [(None, None), (2.0, None)]
    part = GpuPart(name="chapter", what="", seconds=1.0, limit_s=90.0, measured=rows)
    GpuCheck.write(tmp_path / "record.json", parts=[part], tiny=True)
    assert GpuCheck.read(tmp_path / "record.json").parts == (part,)
