"""Pre-train the user models in several processes that share their weights, one for each card.

``accelerate launch --num_processes 8 -m okml.video_workshop.users --profile gpu`` spreads the rows
over eight cards. A run of the chapter with the same settings finds the pre-trainings finished.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from accelerate import PartialState

from okml.chapters import chapter
from okml.console import ParameterOption, ProfileOption, pairs, report_errors, say
from okml.ledger import folder_of
from okml.lifeline import follow_launcher
from okml.paths import writable
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.users.arms import Base, all_jobs, needs_of
from okml.video_workshop.users.study import UsersStudy

app = typer.Typer(add_completion=False)


@app.command()
def pretrain(
    profile: ProfileOption = "gpu",
    parameter: ParameterOption = None,
    folder: Annotated[
        Path | None, typer.Option("--run-dir", help="Where finished steps are kept.")
    ] = None,
) -> None:
    """Pre-train every user model of the chapter that is not finished yet."""
    follow_launcher()
    found = chapter("video_workshop")
    settings = found.profile(profile, pairs(parameter))
    assert isinstance(settings, VideoWorkshopProfile)
    state = PartialState(cpu=settings.device == "cpu")
    study = UsersStudy(settings, writable(folder or folder_of(settings, found.profile(profile))))
    jobs = all_jobs(settings)
    needed = dict.fromkeys(need for job in jobs for need in (job, *needs_of(job)))
    for job in needed:
        if isinstance(job.what, Base):
            if state.is_main_process:
                say(f"pre-training {job.name} in {state.num_processes} processes")
            study.pretrained(job.what, job.seed)
    state.destroy_process_group()


if __name__ == "__main__":
    with report_errors():
        app()
