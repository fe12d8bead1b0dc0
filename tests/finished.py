"""What a person makes of a run by the commands: starts it, reads it, takes its networks."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import pytest
from torch import nn
from typer.testing import CliRunner

from okml.chapters import chapter
from okml.cli import app
from okml.export import CARD, export_networks, load_module
from okml.ledger import Outcome, RunRecord, judge, load_claims, read_record, record_path
from okml.profile import Profile


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
    """Return the networks that ``okml export`` writes, by name and loaded; nothing is trained."""
    taken = "okml.training.loop._Run._take"
    with mock.patch(taken, side_effect=AssertionError("trained again")):
        places = export_networks(chapter(profile.chapter), profile, to, run_dir)
    assert all(profile.chapter in (place / CARD).read_text("utf-8") for place in places)
    return {place.name: load_module(place) for place in places}


def run_notebooks(profile: Profile, run_dir: Path, to: Path) -> None:
    """Let ``okml run`` execute the notebooks of a chapter; what the folder lacks is computed."""
    words = (profile.chapter, "--profile", profile.name, *options_of(profile))
    told("run", *words, "-p", f"run_dir={run_dir}", "--force", "--out", to)
    shown = {path.name for path in to.glob("*.ipynb")}
    assert shown == {path.name for path in chapter(profile.chapter).notebooks}


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


def check_commands(profile: Profile, run_dir: Path, to: Path) -> None:
    """Give a finished run to ``okml run``, ``report`` and ``export``, as a person does."""
    run_notebooks(profile, run_dir, to / "shown")
    check_report(read_record(run_dir / "record.json"), to)
    if find_spec(f"okml.{profile.chapter}.exports") is not None:
        words = (profile.chapter, "--profile", profile.name, *options_of(profile))
        told("export", *words, "--run-dir", run_dir, "--to", to / "networks")
        assert all((place / CARD).is_file() for place in (to / "networks").iterdir())
