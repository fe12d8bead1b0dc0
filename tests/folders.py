"""Each folder of a training is for one worker at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from okml.training.ahead import Trains, with_needs

Job = TypeVar("Job", bound=Hashable)


def check_folders_apart(
    study: Trains[Job], jobs: Iterable[Job], may_train_in: Callable[[Job], set[Hashable]]
) -> None:
    """Check that jobs without an order between them never train in one folder.

    What the needs of a job may have trained counts as finished when it starts. If a folder is then
    left to two jobs, neither waits for the other, and their workers may meet in it.

    Args:
        study: The study, which knows what each job needs.
        jobs: The jobs that are trained ahead.
        may_train_in: A function that returns all folders in which a job may train, also those of
            what it starts from, with any rate if that is not chosen; a folder has any unique name.
    """
    finished: dict[Job, set[Hashable]] = {}  # by a job and all before it
    left_to: dict[Hashable, Job] = {}
    for job, needs in with_needs(study, jobs).items():  # each after its needs
        before = {folder for need in needs for folder in finished[need]}
        finished[job] = before | may_train_in(job)
        for folder in finished[job] - before:
            assert folder not in left_to, f"{job} and {left_to[folder]} may meet in {folder}"
            left_to[folder] = job
