from __future__ import annotations

import datetime as dt
import os
import random
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from okml import runtime
from okml.clock import now
from okml.errors import ParameterError
from okml.runtime import (
    allotted_cores,
    commit,
    environment,
    peak_memory_gib,
    pick_dtype,
    progress,
    seed_everything,
    show_progress,
    usable_cores,
)


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_a_seed_repeats_every_generator() -> None:
    generator = seed_everything(3)
    first, own = draws(), generator.random()
    again = seed_everything(3)
    assert draws() == first
    assert again.random() == own == np.random.default_rng(3).random()
    seed_everything(4)
    assert all(one != other for one, other in zip(draws(), first, strict=True))


def test_types_have_names() -> None:
    assert pick_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(ParameterError, match="'float8'"):
        pick_dtype("float8")


@pytest.mark.parametrize(("threads", "expected"), [("1", 1), ("1,4", 1), ("", None), ("99", None)])
def test_openmps_variable_limits_the_cores(
    monkeypatch: pytest.MonkeyPatch, threads: str, expected: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert usable_cores() == (expected or allotted_cores())


def test_the_environment_names_machine_and_versions() -> None:
    found = environment()
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.packages["torch"] == metadata.version("torch")
    assert found.cores == usable_cores() <= (os.cpu_count() or 1)
    assert found.memory_gib > 0.5
    assert len(found.gpus) == torch.accelerator.device_count()


def test_peak_memory_never_falls_and_sees_a_large_array() -> None:
    before = peak_memory_gib()
    resident = psutil.Process().memory_info().rss / 2**30
    held = np.ones(int((before - resident + 0.05) * 2**30 / 8))  # more than was ever held
    assert peak_memory_gib() > before
    del held
    assert 0 < before < runtime.total_memory_gib()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setenv("OKML_ROOT", str(tmp_path))
    return tmp_path


def test_the_commit_tells_whether_tracked_files_changed(checkout: Path) -> None:
    clean = commit()
    assert len(clean.sha) == 40
    assert not clean.dirty
    (checkout / "new").touch()
    assert not commit().dirty  # not tracked
    subprocess.run(["git", "add", "new"], cwd=checkout, check=True)
    assert commit().dirty


def test_records_that_a_command_has_written_leave_a_checkout_clean(checkout: Path) -> None:
    (checkout / "results" / "add").mkdir(parents=True)
    (checkout / "results" / "add" / "cpu.json").touch()
    (checkout / "src" / "results").mkdir(parents=True)
    (checkout / "src" / "results" / "code.py").touch()
    subprocess.run(["git", "add", "results"], cwd=checkout, check=True)
    assert not commit().dirty
    subprocess.run(["git", "add", "src"], cwd=checkout, check=True)
    assert commit().dirty


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OKML_ROOT", str(tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit().sha == "unknown"


def test_times_are_utc_to_the_second() -> None:
    parsed = dt.datetime.fromisoformat(now())
    assert parsed.utcoffset() == dt.timedelta(0)
    assert parsed.microsecond == 0


@pytest.mark.parametrize(
    ("terminal", "variables", "shown"),
    [(True, {}, True), (True, {"CI": "1"}, False), (True, {"TQDM_DISABLE": "1"}, False),
     (False, {}, False)],
)  # fmt: skip
def test_progress_needs_someone_who_looks(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, variables: dict[str, str], shown: bool
) -> None:
    for name in ("CI", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert show_progress() is shown


def test_progress_passes_everything_on_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(progress(iter("abc"), "letters", total=3)) == ["a", "b", "c"]
    assert capfd.readouterr() == ("", "")
