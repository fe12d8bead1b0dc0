"""Pre-trainings that several processes have shared are found finished by a run in one process."""

import json

import pytest
import torch

from okml.chapters import chapter
from okml.training import load_weights
from okml.video_workshop.users.arms import Base, UserJob, all_jobs, needs_of, the_base
from okml.video_workshop.users.study import UsersStudy
from tests.processes import launch
from tests.video_workshop.own_logs import publish
from tests.video_workshop.test_gpu_profile import SIZES

FEW = {"users.ablations": []}


@pytest.mark.slow
def test_one_process_loads_what_two_have_trained(own_data, tmp_path):
    publish(own_data)
    settings = SIZES | FEW | {"seeds": [0]}
    given = [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in settings.items()
    ]
    options = [part for each in given for part in ("-p", each)]
    folder = tmp_path / "run"
    done = launch("okml.video_workshop.users", "--profile", "gpu", "--run-dir", folder, *options)
    assert done.returncode == 0, done.stderr
    profile = chapter("video_workshop").profile("gpu", settings)
    study = UsersStudy(profile, folder)
    saved = {path: path.stat().st_mtime_ns for path in study.folder.rglob("*.safetensors")}
    jobs = {need for job in all_jobs(profile) for need in (job, *needs_of(job))}
    bases = [job for job in jobs if isinstance(job.what, Base)]
    assert len({path.relative_to(study.folder).parts[0] for path in saved}) == len(bases) == 5
    job = UserJob(the_base(profile.users), 0)
    trained = study.pretrained(job.what, job.seed)
    assert trained.history.steps == profile.users.pretraining.steps
    (weights,) = load_weights(study.folder / job.name).values()
    for name, value in trained.module.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert {path: path.stat().st_mtime_ns for path in study.folder.rglob("*.safetensors")} == saved
