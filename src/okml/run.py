"""The entry point of a chapter without its notebook: ``python -m okml.CHAPTER --profile gpu``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from okml import runlog
from okml.chapters import chapter
from okml.console import (
    AdoptOption,
    DeviceOption,
    ParameterOption,
    ProfileOption,
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


def main(name: str) -> None:
    """Run the chapter called ``name`` with the options of the command line.

    A notebook that is started afterwards reuses every finished step.
    """

    def command(
        profile: ProfileOption = "smoke",
        parameter: ParameterOption = None,
        device: DeviceOption = None,
        folder: Annotated[
            Path | None, typer.Option("--run-dir", help="Where finished steps are kept.")
        ] = None,
        force: Annotated[
            bool, typer.Option("--force", help="Start even if the plan does not fit this machine.")
        ] = False,
        adopt: AdoptOption = False,
        wait: WaitOption = False,
    ) -> None:
        follow_launcher()
        _refuse_several_processes()
        found = chapter(name)
        settings = found.profile(profile, pairs(parameter, device))
        if not force:
            require(settings, folder)
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


def _refuse_several_processes() -> None:
    """Raise if a launcher has started several processes: each would compute all steps."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise ParameterError(
            f"A chapter runs in one process, and the launcher has started {processes}.",
            "Start it without the launcher or with `accelerate launch --num_processes 1`.",
        )
