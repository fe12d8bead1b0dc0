"""The entry point of a chapter without its notebook: ``python -m okml.CHAPTER --profile gpu``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from okml import runlog
from okml.chapters import chapter
from okml.console import (
    AdoptOption,
    DeviceOption,
    EngineOption,
    ParameterOption,
    PerCardOption,
    ProfileOption,
    RunDirOption,
    WaitOption,
    pairs,
    report_errors,
    say,
)
from okml.errors import ParameterError
from okml.kept import offer
from okml.ledger import folder_of, format_estimate, judge, load_claims
from okml.lifeline import follow_launcher
from okml.locks import WAIT_VARIABLE, held
from okml.paths import writable
from okml.resources import require
from okml.training.ahead import choose_workers


def main(name: str) -> None:
    """Run the chapter called ``name`` with the options of the command line.

    A notebook that is started afterwards reuses every finished step.
    """

    def command(
        profile: ProfileOption = "smoke",
        parameter: ParameterOption = None,
        device: DeviceOption = None,
        folder: RunDirOption = None,
        force: Annotated[
            bool, typer.Option("--force", help="Start even if the plan does not fit this machine.")
        ] = False,
        adopt: AdoptOption = False,
        wait: WaitOption = False,
        engine: EngineOption = None,
        per_card: PerCardOption = None,
    ) -> None:
        follow_launcher()
        _refuse_several_processes(name)
        found = chapter(name)
        settings = found.profile(profile, pairs(parameter, device))
        choose_workers(engine, per_card)
        if not force:
            require([(settings, folder)], say)
        folder = writable(folder or folder_of(settings, found.profile(profile)))
        runlog.echo(say)
        if wait:
            os.environ[WAIT_VARIABLE] = "1"
        with held(folder, say=say):
            offer(settings, folder, adopt)
            record = found.run(settings, folder)
        for claim in load_claims(name):
            verdict = judge(claim, record)
            typer.echo(f"{claim.id:36} {format_estimate(verdict.measured):18} {verdict.outcome}")

    with report_errors():
        typer.run(command)


def _refuse_several_processes(name: str) -> None:
    """Raise if a launcher has started several processes: each would compute all steps."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise ParameterError(
            "A chapter runs in one process, which trains on all cards of the machine, and the "
            f"launcher has started {processes}.",
            f"Start it without the launcher: `python -m okml.{name}` with the same options.",
        )
