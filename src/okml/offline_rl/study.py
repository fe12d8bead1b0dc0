"""The study of the chapter: data, trained recommenders and rankings that the experiments share."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch

from okml.kept import trainings_folder
from okml.offline_rl.arms import Arm, build_arm
from okml.offline_rl.data import Prepared, prepare
from okml.offline_rl.settings import ArmName, DataSettings, OfflineRLProfile
from okml.offline_rl.trainer import Trained, Trainer
from okml.runtime import pick_device
from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.encoder import Encoder
from okml.seqrec.mixers.base import PaddingSide
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Rows
from okml.seqrec.scorers import Scorer, encoder_scorer
from okml.training.recent import recently_trained


class Study:
    """The data and recommenders of one run, each made once.

    Args:
        profile: The settings of the run.
        run_dir: The folder of the run, which keeps trainings.
    """

    def __init__(self, profile: OfflineRLProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir
        if self.device.type == "cuda":
            # Float32 products use TF32, with 10 bits of mantissa (bfloat16: 7) for means of Q.
            torch.set_float32_matmul_precision("high")

    @cached_property
    def device(self) -> torch.device:
        """The device of trainings and rankings."""
        return pick_device(self.profile.device)

    @cache  # noqa: B019 - a study lives as long as its run
    def data(self, settings: DataSettings) -> Prepared:
        """Return a data set under its protocol."""
        return prepare(settings, self.profile.simulator, self.profile.crr.gamma)

    def arm(self, name: ArmName) -> Arm:
        """Return an arm of the profile."""
        return build_arm(name, self.profile)

    @recently_trained
    def train(self, settings: DataSettings, arm: Arm, seed: int) -> Trained:
        """Return a trained arm, with the best learning rate of the first seed."""
        return self._train(settings, arm, seed, self.rate(settings, arm))

    @cache  # noqa: B019
    def rate(self, settings: DataSettings, arm: Arm) -> float:
        """Return the factor of learning rates with the best validation on the first seed.

        The factors are the same for all arms, so that all are tuned equally.
        """
        factors = self.profile.learning_rates
        if len(factors) == 1:
            return factors[0]
        seed = self.profile.seeds[0]
        found = [self._train(settings, arm, seed, factor).history for factor in factors]
        return factors[int(np.argmax([part.best_value or 0.0 for part in found]))]

    def _train(self, settings: DataSettings, arm: Arm, seed: int, factor: float) -> Trained:
        data = self.data(settings)
        start = None
        if arm.start == "stage1":
            start = self.train(settings, self.stage1(arm.start_epochs), seed).encoder
        trainer = Trainer(self.profile, trainings_folder(self, Study.train), self.device)
        return trainer.train(data, arm, seed, start, factor)

    def stage1(self, epochs: int | None) -> Arm:
        """Return the arm of stage 1 with a number of epochs; None for the data's setting."""
        stage1 = self.arm("transformer_only")
        if epochs is None:
            return stage1
        return replace(stage1, name=f"transformer_only {epochs}", epochs=epochs)

    def rank(self, encoder: Encoder, data: Prepared, rows: Rows | None = None) -> Ranks:
        """Return the ranks of rows (by default the test's) among all items, ties pessimistic."""
        encoder.eval()
        return self.rank_by(encoder_scorer(encoder), data, rows, encoder.padding_side)

    def rank_by(
        self,
        scorer: Scorer,
        data: Prepared,
        rows: Rows | None = None,
        padding_side: PaddingSide = "right",
    ) -> Ranks:
        """Return the ranks of rows by a scorer; see :meth:`rank`."""
        chosen = data.test if rows is None else rows
        source = LastTargetBatches(
            data.interactions, chosen, data.settings.length,
            padding_side=padding_side, device=self.device,
        )  # fmt: skip
        return rank_rows(
            scorer,
            source,
            hide_seen=data.settings.hide_seen,
            batch_size=self.profile.evaluation_batch,
        )
