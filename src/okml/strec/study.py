"""The study of the chapter: data, trained encoders and rankings that the experiments share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import polars as pl
import torch

from okml.accelerator import forked_rng, pick_device
from okml.data.logs import EventLog
from okml.kept import trainings_folder
from okml.runtime import seed_everything
from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.encoder import Encoder
from okml.seqrec.mixers.base import PaddingSide
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Rows
from okml.seqrec.scorers import Scorer, encoder_scorer
from okml.strec.arms import Job, build, start_from, tries, warm_start
from okml.strec.data import SplitLog, load, prepare
from okml.strec.model import Stage, STRec
from okml.strec.settings import DataSettings, StrecProfile
from okml.strec.trainer import EncoderTrainer, TrainedEncoder
from okml.training.recent import recently_trained

EVALUATION_SEED = 0  # seed of encoders that draw at inference


class Study:
    """The data and encoders of one run, each made once; trainings are kept in its folder."""

    def __init__(self, profile: StrecProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir

    @cached_property
    def device(self) -> torch.device:
        """The device of trainings and rankings."""
        return pick_device(self.profile.device)

    def data(self, settings: DataSettings, seed: int | None = None) -> SplitLog:
        """Return a data set under its protocol.

        Args:
            settings: The log and its protocol.
            seed: The seed of the run, with which the order of events of one second is drawn; None
                for the first.
        """
        drawn = settings.tie_rule == "random"
        first = self.profile.seeds[0]
        return self._data(settings, first if seed is None or not drawn else seed)

    @cache  # noqa: B019 - a study lives as long as its run
    def _data(self, settings: DataSettings, seed: int) -> SplitLog:
        return prepare(settings, seed, *self._log(settings.log, settings.k_core))

    @cache  # noqa: B019 - all orders share a log
    def _log(self, name: str, k_core: tuple[int, int] | None) -> tuple[EventLog, pl.DataFrame]:
        return load(name, k_core)

    def rows_source(
        self, data: SplitLog, rows: Rows, length: int, padding_side: PaddingSide = "left"
    ) -> LastTargetBatches:
        """Return a source of batches of rows, built on the device."""
        return LastTargetBatches(
            data.interactions, rows, length, padding_side=padding_side, device=self.device
        )

    def untrained(self, job: Job) -> Encoder:
        """Return the encoder of a job with initial weights."""
        data = self.data(job.data, job.seed)
        seed_everything(job.seed)
        return build(job.arm, data.items, self.profile, job.data, job.recipe).to(self.device)

    def needs(self, job: Job) -> list[Job]:
        """Return what a job starts from: its choice of a rate, stage 1, or the warm start.

        A job whose rate is open may turn out to share a training, or stage 1 of it, with the whole
        training of its arm, so it waits for that.
        """
        trials, start = tries(self.profile, job), warm_start(self.profile, job)
        starts = [] if start is None else [start]
        if job.rate is None and len(trials) > 1:
            return [*trials, *starts, *([job.whole] if job != job.whole else [])]
        relaxed, hard = job.stages
        first = replace(job, epochs=(relaxed, 0), stays_soft=False)
        return [first] if relaxed and hard else starts

    def train(self, job: Job) -> TrainedEncoder:
        """Return the finished training of a job."""
        if job.rate is None:
            job = self.tuned(job)
        return self._in_stages(job) if job.arm.training == "rows" else self._on_windows(job)

    def tuned(self, job: Job) -> Job:
        """Return a job with the learning rate that had the best validation with the first seed."""
        best, *others = tries(self.profile, job)
        if others:
            best = max(best, *others, key=lambda trial: self.train(trial).validation)
        return replace(job, rate=best.rate, rate_of=None)

    @recently_trained
    def _on_windows(self, job: Job) -> TrainedEncoder:
        trainer = self._trainer(Study._on_windows)
        return trainer.windows(job, self.data(job.data, job.seed), self.untrained(job))

    @recently_trained
    def _in_stages(self, job: Job) -> TrainedEncoder:
        encoder, share = self.untrained(job), 0.0
        start = warm_start(self.profile, job)
        if start is not None:
            share = start_from(encoder, self.train(start).encoder.state_dict())
        trained = self._trainer(Study._in_stages).stages(
            job, self.data(job.data, job.seed), encoder
        )
        trained.warm_share = share
        return trained

    def _trainer(self, trained_by: Callable[..., Any]) -> EncoderTrainer:
        folder = trainings_folder(self, trained_by, Study.data)
        return EncoderTrainer(self.profile, folder, self.device)

    @cache  # noqa: B019 - tables share arms
    def ranks(
        self,
        job: Job,
        *,
        hide_seen: bool = False,
        noise_seed: int | None = None,
        stage: Stage = "hard",
        every_row: bool = False,
    ) -> Ranks:
        """Return the ranks of the test rows by the encoder of a job.

        Args:
            job: The training of the encoder.
            hide_seen: Whether to exclude items of the history from the candidates.
            noise_seed: The seed of the paper's noise at inference; None for noise only if the
                sampler's settings have it.
            stage: The stage in which STRec is evaluated.
            every_row: Whether to rank short histories, too, which only causal encoders can read.
        """
        encoder, data = self.train(job).encoder.eval(), self.data(job.data, job.seed)
        with forked_rng(), _as(encoder, stage, noise_seed):
            torch.manual_seed(EVALUATION_SEED if noise_seed is None else noise_seed)
            return self.rank(
                encoder_scorer(encoder), data, data.split.test if every_row else data.test,
                job.arm.length or job.data.length, encoder.padding_side, hide_seen=hide_seen,
            )  # fmt: skip

    def rank(
        self,
        scorer: Scorer,
        data: SplitLog,
        rows: Rows,
        length: int,
        padding_side: PaddingSide = "left",
        *,
        hide_seen: bool = False,
    ) -> Ranks:
        """Return the ranks of rows by a scorer, among all items, with ties against the model."""
        source = self.rows_source(data, rows, length, padding_side)
        return rank_rows(
            scorer, source, hide_seen=hide_seen, batch_size=self.profile.evaluation_batch
        )


@contextmanager
def _as(encoder: Encoder, stage: Stage, noise_seed: int | None) -> Iterator[None]:
    """Set the stage of STRec, and its noise if there is a seed, inside the context."""
    if isinstance(encoder, STRec):
        encoder.stage = stage
        encoder.sampler.noise_at_evaluation |= noise_seed is not None
    yield
    if isinstance(encoder, STRec):
        encoder.stage = "hard"
        encoder.sampler.noise_at_evaluation = encoder.sampler.settings.noise_at_evaluation
