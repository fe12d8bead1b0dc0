from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from okml import accelerator, resources
from okml import run as run_module
from okml.chapters import CHAPTERS, Chapter
from okml.errors import ParameterError, ResourceError
from okml.ledger import Run, folder_of
from okml.profile import Profile
from okml.training import ahead


def start(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["okml.space_time", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_module.main("space_time")
    return ended.value.code


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Profile, Path]]:
    """What the experiment was asked for; it measures one number."""
    calls: list[tuple[Profile, Path]] = []

    def run(self: Chapter, profile: Profile, folder: Path) -> Any:
        calls.append((profile, folder))
        measured = Run(profile, "cpu")
        measured.log("place_r2", 0.75, exact=True)
        measured.log("place_cheap_r2", 0.0, exact=True)
        return measured.record(1.0)

    monkeypatch.setattr(Chapter, "run", run)
    return calls


def test_options_reach_the_experiment(
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[Profile, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--profile", "cpu", "-p", "seeds=[5]", "-p", "models.0.dtype=float32"]
    assert start(monkeypatch, *options, "--run-dir", str(tmp_path)) == 0
    ((profile, folder),) = asked
    assert (profile.name, profile.seeds, folder) == ("cpu", (5,), tmp_path)
    assert profile.models[0].dtype == "float32"  # type: ignore[attr-defined]
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("space_time.linear_space "))
    assert line.split() == ["space_time.linear_space", "0.750", "direction", "holds"]


def test_the_default_is_a_smoke_run_in_its_own_folder(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Profile, Path]]
) -> None:
    assert start(monkeypatch) == 0
    ((profile, folder),) = asked
    assert profile.name == "smoke"
    assert folder.parts[-4:] == ("_build", "runs", "space_time", "smoke")


def test_a_bad_parameter_is_one_message_and_code_2(
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[Profile, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert start(monkeypatch, "-p", "seedz=[1]") == 2
    shown = capsys.readouterr()
    assert "Did you mean 'seeds'?" in " ".join(shown.err.split())
    assert shown.err.count("error:") == 1
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert asked == []


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without GPU and with next to no memory."""
    machine = SimpleNamespace(memory_gib=0.5, gpus=())
    monkeypatch.setattr(resources, "environment", lambda: machine)


def test_several_processes_of_a_launcher_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[Profile, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert start(monkeypatch) == 2
    assert asked == []
    said = " ".join(capsys.readouterr().err.split())
    assert "the launcher has started 2" in said
    assert "without the launcher: `python -m okml.space_time`" in said


def test_who_trains_is_told_to_all_processes_of_the_run(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Profile, Path]], tmp_path: Path
) -> None:
    for name in (ahead.ENGINE_VARIABLE, ahead.PER_CARD_VARIABLE):
        monkeypatch.setenv(name, "")  # and put back afterwards
    options = ("--engine", "processes", "--per-card", "2", "--run-dir", str(tmp_path))
    assert start(monkeypatch, *options) == 0
    assert len(asked) == 1
    assert os.environ[ahead.ENGINE_VARIABLE] == "processes"
    assert ahead.workers_of_a_card() == 2


def test_ray_is_asked_for_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[Profile, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ahead, "find_spec", lambda name: None)
    assert start(monkeypatch, "--engine", "ray") == 4
    assert asked == []
    assert "pip install 'okml[ray]'" in capsys.readouterr().err


@pytest.mark.usefixtures("small_machine")
def test_a_full_run_that_does_not_fit_is_refused_unless_forced(
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[Profile, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert start(monkeypatch, "--profile", "gpu") == 4
    assert asked == []
    shown = " ".join(capsys.readouterr().err.split())
    found = Chapter("space_time")
    plan = found.plan(found.profile("gpu"))
    assert f"memory: {plan.memory_gib:.1f} GiB needed, 0.5 GiB here" in shown
    assert f"memory of one GPU: {plan.gpu_memory_gib:.1f} GiB needed, 0.0 GiB here" in shown
    assert "--force starts all the same" in shown
    assert start(monkeypatch, "--profile", "gpu", "--force") == 0
    ((profile, _),) = asked
    assert profile.name == "gpu"


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize("scale", ["smoke", "cpu"])
def test_the_small_scales_start_without_a_plan(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Profile, Path]], scale: str
) -> None:
    monkeypatch.setattr(Chapter, "plan", None)
    assert start(monkeypatch, "--profile", scale) == 0
    assert len(asked) == 1


@pytest.mark.parametrize("name", CHAPTERS)
def test_full_scale_never_falls_back_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(accelerator, "accelerator", lambda: None)
    for scale, profile in Chapter(name).profiles().items():
        assert profile.device == "auto"
        assert (profile.budget.gpu_memory_gib > 0) == (scale == "gpu")
    with pytest.raises(ResourceError, match="meant for a GPU"):
        Chapter(name).run(Chapter(name).profile("gpu"), tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_the_option_for_the_device_is_the_field_of_the_profile(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Profile, Path]]
) -> None:
    assert start(monkeypatch, "--device", "xpu") == 0
    ((profile, folder),) = asked
    assert profile.device == "xpu"
    assert folder == folder_of(profile, Chapter("space_time").profile("smoke"))
    assert start(monkeypatch, "--device", "cpu", "-p", "device=cuda") == ParameterError.exit_code
    assert start(monkeypatch, "--device", "tpu") == 2


def test_the_module_is_a_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["okml.space_time", "-p", "seedz=[1]"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("okml.space_time", run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error:")


@pytest.mark.parametrize("wanted", [True, False])
def test_what_other_code_has_kept_is_offered_before_the_experiment(
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[Profile, Path]],
    tmp_path: Path,
    wanted: bool,
) -> None:
    offered: list[tuple[Profile, Path, bool]] = []

    def offer(profile: Profile, folder: Path, adopt: bool) -> None:
        assert not asked
        offered.append((profile, folder, adopt))

    monkeypatch.setattr(run_module, "offer", offer)
    assert start(monkeypatch, "--run-dir", str(tmp_path), *["--adopt"] * wanted) == 0
    assert offered == [(asked[0][0], tmp_path, wanted)]
