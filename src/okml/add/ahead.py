"""The trainings of the chapter as jobs that go side by side on the cores of a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from okml.add.arms import ARMS, ArmName
from okml.add.profile_settings import AddProfile, SetSettings
from okml.add.study import Study
from okml.add.workbench import EMBEDDER_SEED, EYE_SEED
from okml.training.ahead import side_by_side

Foundation = Literal["teacher", "narrower teacher", "eye", "embedder", "metric"]


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        settings: The image set.
        what: A foundation, an arm, or an alternative.
        seed: Of arms and alternatives.
    """

    settings: SetSettings
    what: Foundation | ArmName | Literal["consistency", "progressive"]
    seed: int = 0


def foundations(profile: AddProfile) -> list[Job]:
    """Return what all distillations need, the longest first."""
    jobs = [Job(settings, "teacher") for settings in profile.sets]
    for settings in profile.sets:
        if any(ARMS[name].weaker_teacher for name in (*settings.arms, *settings.arms_once)):
            jobs.append(Job(settings, "narrower teacher"))
        if settings.eye == "vit":
            jobs += [Job(settings, "eye"), Job(settings, "embedder")]
        jobs.append(Job(settings, "metric"))
    return jobs


def distillations(profile: AddProfile) -> list[Job]:
    """Return all arms and alternatives with their seeds, the longest first."""
    jobs = [job for settings in profile.sets for job in _of_set(profile, settings)]
    return sorted(jobs, key=lambda job: -ARMS[job.what].times if job.what in ARMS else 0)


def seeds_of(profile: AddProfile, settings: SetSettings, name: ArmName) -> tuple[int, ...]:
    """Return the seeds that an arm runs with; none if it does not run on this set."""
    seeds = profile.seeds_of(settings)
    if name == "default" or name in settings.arms:
        return seeds
    return seeds[:1] if name in settings.arms_once else ()


def _of_set(profile: AddProfile, settings: SetSettings) -> Iterator[Job]:
    for name in ARMS:
        for seed in seeds_of(profile, settings, name):
            yield Job(settings, name, seed)
    for other in settings.alternatives:
        for seed in profile.seeds_of(settings)[: settings.alternative_seeds]:
            yield Job(settings, other, seed)


def train_ahead(study: Study) -> None:
    """Carry out all trainings in worker processes; what distillations need goes first."""
    prepare = partial(Study, study.profile, study.run_dir)
    waves = (foundations(study.profile), distillations(study.profile))
    side_by_side(prepare, carry_out, waves, study.device)


def carry_out(study: Study, job: Job) -> None:
    """Do one training, or find it done."""
    bench, what = study.workbench(job.settings), job.what
    if what == "teacher":
        bench.train_teacher()
    elif what == "narrower teacher":
        bench.train_teacher(narrower=True)
    elif what == "eye":
        bench.vit(EYE_SEED)
    elif what == "embedder":
        bench.vit(EMBEDDER_SEED)
    elif what == "metric":
        _ = bench.metric
    elif what == "consistency":
        bench.consistency(job.seed)
    elif what == "progressive":
        bench.progressive(job.seed, 1)
    else:
        bench.distil(what, job.seed)
