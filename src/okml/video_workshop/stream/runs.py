"""The runs over streams, each computed once and saved in the run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from okml.kept import trainings_folder
from okml.paths import atomic_write
from okml.training.ahead import side_by_side
from okml.video_workshop.common.content import item_modalities
from okml.video_workshop.items.arms import TableMaker
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.stream import (
    StrategyName,
    StrategySettings,
    StreamTrainingSettings,
)
from okml.video_workshop.stream.arms import (
    CONTENT_TABLES,
    Arm,
    Model,
    build_recommender,
    build_strategy,
)
from okml.video_workshop.stream.prequential import Passage, run_prequential
from okml.video_workshop.stream.recommenders import Recommender
from okml.video_workshop.stream.strategies import train_base
from okml.video_workshop.stream.trainer import Effort, StreamTrainer
from okml.video_workshop.stream.worlds import World, session_world, weekly_world
from okml.video_workshop.study import Study

_LONG: tuple[StrategyName, ...] = ("retrain", "distillation", "distillation_all", "labels_all")


class Job(NamedTuple):
    """An arm with a seed."""

    arm: Arm
    seed: int


class BaseJob(NamedTuple):
    """A base model with a seed, of the chapter's log or of one of the session logs."""

    model: Model
    seed: int
    log: int | None


class StreamRuns:
    """The base models and prequential runs of a study.

    Args:
        study: Study with the log, its content and the settings.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.settings = study.profile.stream
        self.folder = trainings_folder(study, StreamRuns)

    @cache  # noqa: B019 - lives as long as its study
    def world(self, log: int | None = None, shards: float = 1.0, shock: bool = False) -> World:
        """Return a stream: the chapter's log, or one of the session logs by number."""
        if log is not None:
            return session_world(self.settings.sessions[log])
        watched, weekly = self.study.watched, self.settings.weekly
        genres = watched.films["genres"].fill_null([]).to_list() if shock else None
        return weekly_world(watched.interactions, weekly, shards, genres)

    @cached_property
    def tables(self) -> TableMaker:
        """Maker of content tables for the chapter's log."""
        return table_maker(self.study, self.world())

    def training(self, model: Model, log: int | None) -> StreamTrainingSettings:
        """Return the training settings of a model on a stream."""
        if log is not None:
            return self.settings.sessions[log].training
        weekly = self.settings.weekly
        if model != "factorization":
            return weekly.training
        rate = weekly.training.learning_rate * weekly.factorization_rate
        return weekly.training.model_copy(update={"learning_rate": rate})

    def strategies(self, log: int | None) -> StrategySettings:
        """Return the settings of the strategies on a stream."""
        if log is not None:
            return self.settings.sessions[log].strategies
        return self.settings.weekly.strategies

    def trainer(self, arm: Arm, seed: int) -> StreamTrainer:
        """Return the trainer of an arm's model on its stream."""
        training = self.training(arm.model, arm.log)
        build = partial(
            build_recommender, arm.model, self.world(arm.log), training, self.settings.weekly,
            self.tables if arm.model in CONTENT_TABLES else None, seed,
        )  # fmt: skip
        if arm.batch is not None:
            training = training.model_copy(update={"update_batch": arm.batch})
        world = self.world(arm.log, arm.shards, arm.shock)
        return StreamTrainer(world.stream, training, build, seed, self.study.device)

    def base(self, model: Model, seed: int, log: int | None = None) -> Recommender:
        """Return a model trained on all events before the first served period.

        All arms of a model and a seed start from it, also with other shards or a later shock.
        """
        trainer = self.trainer(Arm("stale", model, log=log), seed)
        folder = self.folder / f"base-{model}-{log}-{seed}"
        return train_base(trainer, self.world(log).first, folder)[0]

    def path(self, arm: Arm, seed: int) -> Path:
        """Return the path of the run of an arm with a seed."""
        return self.folder / f"{arm.name} {arm.log} {seed}.npz"

    def passage(self, arm: Arm, seed: int) -> Passage:
        """Return the prequential run of an arm with a seed."""
        path = self.path(arm, seed)
        if not path.exists():
            _save(path, self._run(arm, seed))
        return _load(path)

    def _run(self, arm: Arm, seed: int) -> Passage:
        world = self.world(arm.log, arm.shards, arm.shock)
        content = self.study.content(seed) if arm.new_rows == "content_knn" else None
        return run_prequential(
            self.trainer(arm, seed),
            build_strategy(arm, world.first, self.strategies(arm.log), content),
            self.base(arm.model, seed, arm.log),
            world.rows,
            world.first,
            hide_seen=world.hide_seen,
            batch_size=self.study.profile.evaluation_batch,
            group=world.launched,
        )


def run_ahead(runs: StreamRuns, jobs: Sequence[Job]) -> None:
    """Run jobs in worker processes, base models before the arms that start from them."""
    jobs = [job for job in jobs if not runs.path(*job).exists()]
    if not jobs:
        return
    bases = dict.fromkeys(BaseJob(job.arm.model, job.seed, job.arm.log) for job in jobs)
    # Longest jobs first, so that no core is idle at the end.
    arms = sorted(jobs, key=lambda job: job.arm.strategy not in _LONG)
    prepare = partial(_prepare, runs.study.profile, runs.study.run_dir)
    waves: tuple[list[Job | BaseJob], list[Job | BaseJob]] = ([*bases], [*arms])
    side_by_side(prepare, _carry_out, waves, runs.study.device)


def _prepare(profile: VideoWorkshopProfile, run_dir: Path) -> StreamRuns:
    return StreamRuns(Study(profile, run_dir))


def _carry_out(runs: StreamRuns, job: Job | BaseJob) -> None:
    if isinstance(job, Job):
        runs.passage(*job)
    else:
        runs.base(*job)


def _save(path: Path, passage: Passage) -> None:
    efforts = np.array([(e.steps, e.samples, e.seconds) for e in passage.efforts])
    with atomic_write(path, "wb") as handle:
        np.savez(
            handle,
            ranks=passage.ranks, among=passage.among, efforts=efforts, alive=passage.rows_alive,
        )  # fmt: skip


def _load(path: Path) -> Passage:
    with np.load(path) as saved:
        efforts = tuple(
            Effort(int(steps), int(samples), seconds)
            for steps, samples, seconds in saved["efforts"].tolist()
        )
        alive = tuple(saved["alive"].tolist())
        return Passage(saved["ranks"], saved["among"], efforts, alive)


def table_maker(study: Study, world: World) -> TableMaker:
    """Return a maker of content tables for a stream of the chapter's log.

    Args:
        study: Study with the content of items and the sizes of tables.
        world: Stream, used only up to its first served period.

    Raises:
        DataError: If the content is not available.
    """
    profile = study.profile
    counts = world.stream.counts(world.first - 1)
    modalities = cache(partial(item_modalities, profile.data, study.watched.films, counts > 0))
    model = profile.stream.weekly.training.model
    settings = profile.items.model_copy(update={"model": model})
    return TableMaker(modalities, counts, settings, study.device)
