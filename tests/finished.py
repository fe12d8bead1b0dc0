"""What a person makes of a run by the commands: starts it, reads it, takes its networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from torch import nn
from typer.testing import CliRunner

from okml.chapters import chapter
from okml.cli import app
from okml.export import CARD, load_module
from okml.ledger import Outcome, RunRecord, judge, load_claims, read_record, record_path
from okml.profile import Profile
from tests.tools.own_data import OwnData


def told(*words: object) -> str:
    """Return what a command of okml prints."""
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def options_of(profile: Profile) -> list[str]:
    """Return the options that make these settings of the stated ones."""
    stated = chapter(profile.chapter).profile(profile.name).model_dump(mode="json")
    changed = [(n, v) for n, v in profile.model_dump(mode="json").items() if v != stated[n]]
    written = [f"{n}={v if isinstance(v, str) else json.dumps(v)}" for n, v in changed]
    return [part for each in written for part in ("-p", each)]


def exported(profile: Profile, run_dir: Path, to: Path) -> dict[str, nn.Module]:
    """Return the networks that ``okml export`` writes, by name and loaded."""
    export_by_command(profile, run_dir, to)
    return {place.name: load_module(place) for place in to.iterdir()}


def export_by_command(profile: Profile, run_dir: Path, to: Path) -> None:
    """Let ``okml export`` write the networks of a finished run; nothing is trained."""
    words = (profile.chapter, "--profile", profile.name, *options_of(profile))
    taken = "okml.training.loop._Run._take"
    with mock.patch(taken, side_effect=AssertionError("trained again")):
        told("export", *words, "--run-dir", run_dir, "--to", to)
    assert all(profile.chapter in (place / CARD).read_text("utf-8") for place in to.iterdir())


def run_notebooks(profile: Profile, run_dir: Path, to: Path) -> None:
    """Let ``okml run`` execute the notebooks of a chapter; what the folder lacks is computed."""
    words = (profile.chapter, "--profile", profile.name, *options_of(profile))
    told("run", *words, "--run-dir", run_dir, "--force", "--out", to)
    shown = {path.name for path in to.glob("*.ipynb")}
    assert shown == {path.name for path in chapter(profile.chapter).notebooks}


@contextmanager
def run_by_command(
    profile: Profile, put: Callable[[OwnData], object], folders: pytest.TempPathFactory
) -> Iterator[Path]:
    """Yield the folder of a run that ``okml run`` has computed, with the notebooks in ``shown``.

    Args:
        profile: The settings of the run.
        put: A function that publishes what the run reads, which is there inside the context.
        folders: The maker of folders.
    """
    folder = folders.mktemp(profile.chapter)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # few trainings of a second need no workers
        put(OwnData(folder, patch))
        run_notebooks(profile, folder / "run", folder / "run" / "shown")
        yield folder / "run"


def reopened(experiment: Callable[[Any, Path], Any], profile: Profile, run_dir: Path) -> Any:
    """Return the experiment of a finished run, its record being ``made``; no step is computed."""
    run = experiment(profile, run_dir)
    with mock.patch("okml.steps.save", side_effect=AssertionError("it is computed again")):
        for name in run.step_names():
            getattr(run, name)
    run.made = read_record(run_dir / "record.json")
    return run


def check_report(record: RunRecord, to: Path) -> None:
    """Check that ``okml report`` tells of a record what it decides, where it is the only one."""
    name, profile = record.chapter, record.profile
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OKML_ROOT", str(to))  # the results there are this record alone
        record.write(record_path(name, profile))
        rows = json.loads(told("report", name, "--format", "json"))
    outcomes = {row["claim"]["id"]: row["verdicts"][profile]["outcome"] for row in rows}
    assert outcomes == {claim.id: judge(claim, record).outcome.value for claim in load_claims(name)}
    assert {*outcomes.values()} - {Outcome.NOT_RUN.value, Outcome.UNTESTABLE.value}
