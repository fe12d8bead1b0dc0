"""The study of streams: base models and prequential runs, each computed once and kept."""

from __future__ import annotations

from functools import cache, cached_property, partial
from pathlib import Path

from okml.kept import trainings_folder
from okml.seqrec.metrics import hit
from okml.steps import announced
from okml.training.ahead import train_ahead
from okml.video_workshop.common.content import item_modalities
from okml.video_workshop.common.study import Study, kept_arrays
from okml.video_workshop.common.table import IdTable
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.maker import TableMaker
from okml.video_workshop.settings.stream import StrategyName, StrategySettings, StreamSettings
from okml.video_workshop.stream.arms import (
    StreamArm,
    StreamJob,
    all_jobs,
    choice_jobs,
    update_rates,
)
from okml.video_workshop.stream.distillation import ExemplarDistillation
from okml.video_workshop.stream.prequential import Passage, Strategy, run_prequential
from okml.video_workshop.stream.served import ServedStream, session_stream, weekly_stream
from okml.video_workshop.stream.strategies import (
    FullRetrain,
    Incremental,
    NoUpdate,
    Rehearsal,
    Repeat,
    Replay,
    train_base,
)
from okml.video_workshop.stream.trainer import StreamTrainer


def build_strategy(name: StrategyName, first: int, settings: StrategySettings) -> Strategy:
    """Return a strategy, new for each run.

    Args:
        name: Name of the strategy.
        first: Number of the first served period.
        settings: Settings of all strategies.
    """
    match name:
        case "stale":
            return NoUpdate()
        case "incremental":
            return Incremental()
        case "replay":
            return Replay(settings.replay_ratio)
        case "repeat":
            return Repeat(settings.replay_ratio)
        case "rehearsal":
            return Rehearsal(first)
        case "distillation":
            return ExemplarDistillation(settings.distillation_base, settings.exemplars, first)
        case "distillation_all":
            return ExemplarDistillation(settings.distillation_base, None, first)
        case "retrain":
            return FullRetrain(settings.retrain_every, first)


class StreamStudy(Study):
    """The base models and prequential runs of the theme, each computed once."""

    @property
    def settings(self) -> StreamSettings:
        """Settings of the theme."""
        return self.profile.stream

    @cached_property
    def folder(self) -> Path:
        """Folder of base models and runs."""
        return trainings_folder(self, StreamStudy)

    @cache  # noqa: B019 - lives as long as its run
    def served(
        self,
        log: int | None = None,
        shards: float = 1.0,
        shock: bool = False,
        early: bool = False,
    ) -> ServedStream:
        """Return a stream: the chapter's log, or one of the session logs by number."""
        if log is not None:
            return session_stream(self.settings.sessions[log])
        watched, weekly = self.watched, self.settings.weekly
        genres = watched.films["genres"].fill_null([]).to_list() if shock else None
        return weekly_stream(watched.interactions, weekly, shards, genres, early)

    @cache  # noqa: B019 - lives as long as its run
    def tables(self, early: bool = False) -> TableMaker:
        """Return the maker of content tables for the chapter's log.

        Quantizers and text weights are fitted on the items that exist before the first period after
        the base, and stay frozen.

        Raises:
            DataError: If the content is not available.
        """
        profile, served = self.profile, self.served(early=early)
        counts = served.stream.counts(served.first - 1)
        modalities = cache(partial(item_modalities, profile.data, self.watched.films, counts > 0))
        return TableMaker(modalities, counts, profile.items, self.device)

    def rate(self, arm: StreamArm) -> float:
        """Return the factor of the learning rate in an arm's updates, the best of its trials."""
        jobs = choice_jobs(self.profile, arm)
        if not jobs:
            return update_rates(self.settings, arm)[0]
        drawn = self.served(arm.log, early=jobs[0].early).drawn
        top = 10 if arm.log is None else 20  # of the metric that the arms are compared by
        best = max(jobs, key=lambda job: hit(self.passage(job).ranks[drawn], top).mean())
        assert best.rate is not None
        return best.rate

    def trainer(self, job: StreamJob) -> StreamTrainer:
        """Return the trainer of an arm's model on its stream."""
        arm, seed = job.arm, job.seed
        of = self.settings.weekly if arm.log is None else self.settings.sessions[arm.log]
        stream = self.served(arm.log, arm.shards, arm.shock, job.early).stream
        items, width = stream.interactions.item_count, of.training.model.width

        def build() -> UserModel:
            if arm.table == "id":
                return UserModel(IdTable(items, width), of.training.model)
            tables = self.tables(job.early)
            return UserModel(tables.make(arm.table, seed, width), of.training.model)

        rate = self.rate(arm) if job.rate is None else job.rate
        return StreamTrainer(self.profile, stream, of.training, build, seed, self.device, rate)

    def needs(self, job: StreamJob) -> list[StreamJob]:
        """Return the base model that a run starts from, then the trials that choose its rate.

        With other shards or a later shock the base is the same.
        """
        if job.base:
            return []
        start = StreamArm("stale", job.arm.table, log=job.arm.log)
        base = StreamJob(start, job.seed, base=True, early=job.early)
        return [base] if job.rate is not None else [base, *choice_jobs(self.profile, job.arm)]

    def train(self, job: StreamJob) -> object:
        """Return a base model, or the prequential run of an arm."""
        return self.base(job) if job.base else self.passage(job)

    def base(self, job: StreamJob) -> UserModel:
        """Return the model of a job, trained on all events before the periods that it passes."""
        start = job if job.base else self.needs(job)[0]
        arm, early = start.arm, start.early
        name = f"{'early-' if early else ''}base-{arm.table}-{arm.log}-{start.seed}"
        first = self.served(arm.log, early=early).first
        return train_base(self.trainer(start), first, self.folder / name)[0]

    def path(self, job: StreamJob) -> Path:
        """Return the path of a run."""
        tried = "" if job.rate is None else f" {job.rate:g}{' early' if job.early else ''}"
        return self.folder / f"{job.arm.name} {job.arm.log} {job.seed}{tried}.npz"

    def passage(self, job: StreamJob) -> Passage:
        """Return the prequential run of an arm."""
        kept = kept_arrays(self.path(job), lambda: self._run(job).arrays())
        return Passage.of_arrays(kept)

    def _run(self, job: StreamJob) -> Passage:
        arm, settings = job.arm, self.settings
        served = self.served(arm.log, arm.shards, arm.shock, job.early)
        of = settings.weekly if arm.log is None else settings.sessions[arm.log]
        return run_prequential(
            self.trainer(job),
            build_strategy(arm.strategy, served.first, of.strategies),
            self.base(job),
            served.rows,
            served.first,
            hide_seen=served.hide_seen,
            batch_size=self.profile.evaluation_batch,
        )

    def run_all(self) -> None:
        """Compute all unfinished runs in parallel."""
        with announced("runs over streams"):
            train_ahead(self, [j for j in all_jobs(self.profile) if not self.path(j).exists()])
