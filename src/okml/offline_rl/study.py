"""The study of the chapter: data, trained recommenders and rankings that the experiments share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import overload

import numpy as np
import torch

from okml.accelerator import pick_device, tensor_float32
from okml.kept import distinct, trainings_folder
from okml.offline_rl.arms import ARMS, AnyJob, CriticJob, Job
from okml.offline_rl.data import MDPDataset, prepare
from okml.offline_rl.fitting import fit_critics, returns_of, split_users
from okml.offline_rl.settings import LogSettings, OfflineRLProfile
from okml.offline_rl.trainer import ArmTraining, TrainedCritics, TrainedPolicy, stage_of
from okml.seqrec.encoder import Encoder
from okml.seqrec.mixers.base import PaddingSide
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.scorers import Scorer, encoder_scorer
from okml.training.rates import TriedRates, search
from okml.training.recent import recently_trained


class Study:
    """The data and recommenders of one run, each made once; trainings are kept in its folder."""

    def __init__(self, profile: OfflineRLProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir

    @cached_property
    def device(self) -> torch.device:
        """The device of trainings and rankings."""
        return pick_device(self.profile.device)

    def data(self, settings: LogSettings, seed: int | None = None) -> MDPDataset:
        """Return a data set under its protocol.

        Args:
            settings: The log and its protocol.
            seed: The seed of the run, for which a simulated log is drawn anew; None for the first.
                A real log is the same for all seeds.
        """
        first = self.profile.seeds[0]
        return self._data(settings, first if seed is None or settings.is_real else seed)

    @cache  # noqa: B019 - a study lives as long as its run
    def _data(self, settings: LogSettings, seed: int) -> MDPDataset:
        return prepare(settings, self.profile.crr.gamma, seed)

    @overload
    def train(self, job: Job) -> TrainedPolicy: ...
    @overload
    def train(self, job: CriticJob) -> TrainedCritics: ...
    @overload
    def train(self, job: AnyJob) -> TrainedPolicy | TrainedCritics: ...
    def train(self, job: AnyJob) -> TrainedPolicy | TrainedCritics:
        """Return the training of a job, with the learning rate that is best over all seeds."""
        return self._fit(job) if isinstance(job, CriticJob) else self._train(job)

    def needs(self, job: AnyJob) -> list[AnyJob]:
        """Return the jobs that a job starts from, or takes the learning rate of."""
        if isinstance(job, CriticJob):
            return [job.stage1, *self._before_fit(job)]
        chooser, arm, rates = job.chooser(self.profile), ARMS[job.arm], self.profile.learning_rates
        if job == chooser:
            return [*self._with_seeds(job, rates)]
        # Its search may train at any other rate.
        found: list[AnyJob] = [] if job.rate in rates else [chooser]
        found += [job.stage1] if arm.from_stage1 else []
        found += [job.critics] if arm.method == "crr" else []
        return found

    def _before_fit(self, job: CriticJob) -> list[CriticJob]:
        """Return the fits whose errors set rate and copies of a fit."""
        if job.rate is not None:
            return []
        chooser = job.chooser(self.profile)
        if job != chooser:
            return [chooser]  # its search may try any other rate
        rates, numbers = self.profile.fit.rates, job.copies_to_try(self.profile)
        return [
            each for copies in numbers for rate in rates for each in self._fits(job, rate, copies)
        ]

    def _fits(self, job: CriticJob, rate: float, copies: int | None) -> list[CriticJob]:
        seeds = self.profile.seeds
        return [replace(job, seed=seed, rate=rate, copies=copies) for seed in seeds]

    @recently_trained
    def _fit(self, job: CriticJob) -> TrainedCritics:
        """Return a fit; without a rate, with the rate and copies that have the least error."""
        if job.rate is None:
            rate, copies = self.best_fit(job)
            return self.train(replace(job, rate=rate, copies=copies))
        actor, data = self.train(job.stage1).encoder, self.data(job.data, job.seed)
        folder = trainings_folder(self, Study._fit) / distinct(job.data.log, job.data)
        folder = folder / job.name / f"seed {job.seed}"
        with tensor_float32():  # 10 bits of mantissa for means of Q, where bfloat16 has 7
            return fit_critics(self.profile, data, job, actor, self.device, folder)

    def best_fit(self, job: CriticJob) -> tuple[float, int | None]:
        """Return the rate and copies with the least mean error over seeds."""
        tried = self.tried_fits(job)
        copies = max(tried, key=lambda each: tried[each].values[tried[each].best])
        return tried[copies].best, copies

    def tried_fits(self, job: CriticJob) -> Mapping[int | None, TriedRates]:
        """Return the rates among which that of a fit is chosen, by steps between copies.

        Their values are mean errors of held-out returns over seeds, negated.
        """
        return self._search_fits(job.chooser(self.profile))

    @cache  # noqa: B019
    def _search_fits(self, job: CriticJob) -> Mapping[int | None, TriedRates]:
        data = self.data(job.data)
        returns = returns_of(job, data)[split_users(data).choice.end]
        untrained = -float(np.mean(returns.astype(np.float64) ** 2))  # new critics say zero

        def value(rate: float, copies: int | None) -> float:
            errors = [self.train(each).error for each in self._fits(job, rate, copies)]
            return -float(np.mean(errors))

        rates, further = self.profile.fit.rates, self.profile.further_rates
        return {
            copies: search(rates, further, partial(value, copies=copies), untrained)
            for copies in job.copies_to_try(self.profile)
        }

    def rate(self, job: Job) -> float:
        """Return the factor of learning rates: the job's, or the best one over all seeds."""
        return self.tried(job).best if job.rate is None else job.rate

    def tried(self, job: Job) -> TriedRates:
        """Return the factors among which that of a job is chosen, with mean validations.

        The first ones are the same for all arms, and all are searched alike beyond them.
        """
        return self._search(job.chooser(self.profile))

    def _with_seeds(self, job: Job, rates: Iterable[float]) -> list[Job]:
        return [replace(job, seed=seed, rate=rate) for rate in rates for seed in self.profile.seeds]

    @cache  # noqa: B019
    def _search(self, job: Job) -> TriedRates:
        """Return the rates tried for an arm, by the means over seeds of the best validation."""

        def validation(trainings: Iterable[Job]) -> float:
            return float(
                np.mean([self.train(each).history.best_value or 0.0 for each in trainings])
            )

        untrained = 0.0  # random weights find next to nothing
        if ARMS[job.arm].from_stage1:
            untrained = validation(replace(job, seed=seed).stage1 for seed in self.profile.seeds)
        return search(
            self.profile.learning_rates,
            job.further_rates(self.profile),
            lambda rate: validation(self._with_seeds(job, [rate])),
            untrained,
        )

    @recently_trained
    def _train(self, job: Job) -> TrainedPolicy:
        arm, data, factor = ARMS[job.arm], self.data(job.data, job.seed), self.rate(job)
        start = self.train(job.stage1).encoder if arm.from_stage1 else None
        stage = stage_of(job.data, arm, job.stage1_epochs, factor)
        fitted = self.train(job.critics) if arm.method == "crr" else None
        training = ArmTraining(self.profile, data, arm, stage, start, fitted, self.device)
        folder = trainings_folder(self, Study._train) / distinct(job.data.log, job.data)
        with tensor_float32():
            return training.run(job.seed, folder / job.name / f"seed {job.seed}, rate {factor:g}")

    def rank(self, encoder: Encoder, data: MDPDataset, *, other_rule: bool = False) -> Ranks:
        """Return the ranks of the test rows among all items, ties pessimistic.

        Args:
            encoder: The recommender to evaluate.
            data: The data set, whose protocol says whether seen items are candidates.
            other_rule: Whether to rank by the opposite of that rule.
        """
        scorer, side = encoder_scorer(encoder.eval()), encoder.padding_side
        return self.rank_by(scorer, data, side, other_rule=other_rule)

    def rank_by(
        self,
        scorer: Scorer,
        data: MDPDataset,
        padding_side: PaddingSide = "right",
        *,
        other_rule: bool = False,
    ) -> Ranks:
        """Return the ranks of the test rows by a scorer; see :meth:`rank`."""
        return rank_rows(
            scorer,
            data.histories(data.test, self.device, padding_side),
            hide_seen=data.settings.hide_seen != other_rule,
            batch_size=self.profile.evaluation_batch,
        )
