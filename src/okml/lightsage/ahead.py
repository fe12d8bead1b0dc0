"""All trainings of a run, computed in parallel ahead of the experiments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import polars as pl

from okml.lightsage.arms import Arm
from okml.lightsage.experiments.baselines import baseline_scorer, graphsage_arm, network_arm
from okml.lightsage.experiments.graphs import SCARCE, graph_arm
from okml.lightsage.experiments.networks import loss_arms, variant_arm
from okml.lightsage.experiments.tail import tail_arms
from okml.lightsage.settings import BaselineName, DataSettings
from okml.lightsage.study import Study
from okml.steps import StepResult, announced
from okml.training.ahead import side_by_side

KEPT: tuple[BaselineName, ...] = ("item2vec", "lightgcn users", "lightgcn items", "pinsage")


@dataclass(frozen=True, eq=False)
class Job:
    """The configuration of one training.

    Attributes:
        seed: Random seed of the training and of synthetic data.
        arm: Encoder configuration, or the name of a baseline whose training is saved.
    """

    data: DataSettings
    seed: int
    arm: Arm | BaselineName


def all_jobs(study: Study) -> list[Job]:
    """Return every training that a run needs, without repeats, grouped by shop."""
    profile, jobs = study.profile, []
    for seed in profile.seeds:
        for data in (profile.data, profile.scarce_search, *profile.real):
            arms = {arm.key(): arm for arm in _arms(study, data)}
            jobs += [Job(data, seed, arm) for arm in arms.values()]
            jobs += [Job(data, seed, name) for name in data.baselines if name in KEPT]
    return jobs


def _arms(study: Study, data: DataSettings) -> Iterator[Arm]:
    profile = study.profile
    if data == profile.scarce_search:
        yield from (graph_arm(study, name) for name in SCARCE)
        return
    yield network_arm(study, data)
    if data == profile.data:
        yield from (graph_arm(study, name) for name in profile.graphs)
        yield from (variant_arm(study, name) for name in profile.variants)
        yield from loss_arms(study).values()
        yield from tail_arms(study)
    else:
        yield network_arm(study, data, item_vectors=True)
    if "graphsage" in data.baselines:
        yield graphsage_arm(study, data)


def train_ahead(study: Study) -> list[Job]:
    """Run all trainings, as many at a time as there are cores; on a GPU do nothing.

    Returns:
        The trainings that the run needs.
    """
    jobs = all_jobs(study)
    prepare = partial(Study, study.profile, study.run_dir)
    side_by_side(prepare, _carry_out, [jobs], study.device)
    return jobs


def train_everything(study: Study) -> StepResult:
    """Run all trainings, and return their numbers."""
    with announced("trainings"):
        jobs = train_ahead(study)
    result = StepResult(frames={"trainings": counted(jobs)})
    result.log("trainings", len(jobs))
    return result


def counted(jobs: list[Job]) -> pl.DataFrame:
    """Return the number of trainings of each kind on each shop."""
    rows = [
        {
            "data": job.data.name,
            "network": _kind(job.arm),
            "graph": job.arm.graph if isinstance(job.arm, Arm) else job.data.main_graph,
        }
        for job in jobs
    ]
    by = ("data", "network", "graph")
    return pl.DataFrame(rows).group_by(by, maintain_order=True).len("trainings")


def _kind(arm: Arm | BaselineName) -> str:
    if not isinstance(arm, Arm):
        return arm
    hops = f"{arm.encoder.layers} hop{'s' * (arm.encoder.layers != 1)}"
    return f"{hops}, item vectors" if arm.encoder.item_vectors else hops


def _carry_out(study: Study, job: Job) -> None:
    data = study.data(job.data, job.seed)
    if isinstance(job.arm, Arm):
        study.train(data, job.arm, job.seed)
    else:
        baseline_scorer(study, data, job.arm, job.seed)
