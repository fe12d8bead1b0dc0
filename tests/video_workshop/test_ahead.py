"""Trainings that may run at a time are in folders of their own."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import pytest

from okml.video_workshop.config import PROFILES
from okml.video_workshop.items import arms as items
from okml.video_workshop.items.study import ItemsStudy
from okml.video_workshop.stream import arms as stream
from okml.video_workshop.stream.study import StreamStudy
from okml.video_workshop.users import arms as users
from okml.video_workshop.users.study import UsersStudy
from tests.folders import check_folders_apart


@pytest.mark.parametrize("name", PROFILES)
def test_no_two_trainings_that_may_run_at_a_time_are_in_one_folder(name, tmp_path):
    """A worker that finds a folder in use gives up, and with it the run."""
    profile = PROFILES[name]
    check_folders_apart(
        ItemsStudy(profile, tmp_path), items.all_jobs(profile), lambda job: {job.name}
    )
    check_folders_apart(UsersStudy(profile, tmp_path), users.all_jobs(profile), _of_users)
    runs = StreamStudy(profile, tmp_path)
    check_folders_apart(runs, stream.all_jobs(profile), partial(_of_stream, runs))


def _of_users(job: users.UserJob) -> set[Hashable]:
    """Return the folders of a training and of the pre-training that it starts from."""
    what = job.what
    if isinstance(what, users.Base) or what.mode == "scratch":
        return {job.name}
    return {job.name, users.UserJob(what.base, job.seed).name}


def _of_stream(study: StreamStudy, job: stream.StreamJob) -> set[Hashable]:
    """Return the folder of a base model, and the files of a run and of those that choose its rate.

    Base models with other shards or a later shock are one.
    """
    base = (job.arm.table, job.arm.log, job.seed, job.early)
    if job.base:
        return {base}
    chosen_by = stream.choice_jobs(study.profile, job.arm) if job.rate is None else []
    own: set[Hashable] = {base, study.path(job)}
    return own.union(*(_of_stream(study, each) for each in chosen_by))
