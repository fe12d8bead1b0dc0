"""Trains a user model on each item table, and ranks the test targets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from okml.paths import atomic_write
from okml.runtime import seed_everything
from okml.seqrec.batches import CausalBatch, CausalBatches, LastTargetBatches
from okml.seqrec.interactions import Ints
from okml.seqrec.losses import build_sampler
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import cut_windows
from okml.seqrec.scorers import Scorer, among, encoder_scorer
from okml.seqrec.tasks import EveryPosition, OptimizerSettings, objective_task
from okml.training import fit
from okml.video_workshop.common.losses import catalog_loss
from okml.video_workshop.common.training import training_settings
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.arms import TableMaker
from okml.video_workshop.items.cold_split import ColdSplit
from okml.video_workshop.items.multimodal import ContentTable
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.items import ItemArm


@dataclass(frozen=True)
class ColdJob:
    """The configuration of one training.

    Attributes:
        arm: Name of the item representation.
        seed: Random seed of weights, order, dropout, hashes and quantizers.
        codes: K of the compressed arms; None: the value of the settings.
    """

    arm: ItemArm
    seed: int
    codes: int | None = None

    @property
    def name(self) -> str:
        """Name of the training's folder."""
        budget = "" if self.codes is None else f" {self.codes} codes"
        return re.sub(r"[^\w.-]+", "_", f"{self.arm}{budget} seed {self.seed}")


@dataclass(frozen=True, eq=False)
class ColdRanks:
    """The ranks of all targets by one model.

    Attributes:
        full: Ranks among all items, ``[r]``.
        among_cold: Ranks of cold targets among cold items, ``[cold rows]``: the value of content
            without the popularity advantage of warm items (pitfall P4).
    """

    full: Ranks
    among_cold: Ranks


class FreshTable(EveryPosition):
    """Next-item training that redraws the random choices of the item table for each batch."""

    def forward(self, batch: CausalBatch) -> Tensor:
        """Return the mean loss over the targets of a batch."""
        assert isinstance(self.encoder, UserModel)
        self.encoder.table.redraw()
        return super().forward(batch)


class ColdItems:
    """The split, the tables and the trained models of the experiment on new items.

    Args:
        maker: Maker of the tables of the split's items.
        folder: Folder of trainings and ranks.
        device: Device on which models are trained.
    """

    def __init__(
        self,
        profile: VideoWorkshopProfile,
        split: ColdSplit,
        maker: TableMaker,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.profile = profile
        self.settings = profile.items
        self.split = split
        self.maker = maker
        self.folder = folder
        self.device = device

    def ranks(self, job: ColdJob) -> ColdRanks:
        """Train and rank, or load the ranks of an earlier call."""
        path = self.folder / job.name / "ranks.npz"
        if path.is_file():
            with np.load(path) as kept:
                return ColdRanks(kept["full"], kept["among_cold"])
        found = self.rank(self.train(job))
        with atomic_write(path, "wb") as handle:
            np.savez(handle, full=found.full, among_cold=found.among_cold)
        return found

    def ranks_by_modality(self, job: ColdJob) -> dict[str, ColdRanks]:
        """Rank with each modality alone, where items have several, to detect modality collapse.

        Args:
            job: Training of the arm ``content``.
        """
        names = tuple(self.maker.modalities(job.seed))
        if len(names) == 1:
            return {names[0]: self.ranks(job)}
        model, found = self.train(job), {}
        assert isinstance(model.table, ContentTable)
        for name in names:
            with model.table.only(name):
                found[name] = self.rank(model)
        return found

    def train(self, job: ColdJob) -> UserModel:
        """Return a trained model; a finished training is loaded from its folder."""
        settings, split = self.settings, self.split
        seed_everything(job.seed)
        table = self.maker.make(job.arm, job.seed, job.codes)
        model = UserModel(table, settings.model).to(self.device)
        loss = catalog_loss(settings.loss, split.counts, split.known).to(self.device)
        objective = FreshTable(model, loss)
        optimizer = OptimizerSettings(
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=(0.9, 0.98),
        )
        source = CausalBatches(
            split.log,
            cut_windows(split.log, split.train_end, settings.model.length),
            padding_side=model.padding_side,
            jitter=True,
            negatives=build_sampler(settings.loss, split.counts),
            device=self.device,
        )
        loop = training_settings(
            self.profile,
            batch=settings.batch,
            epochs=settings.epochs,
            seed=job.seed,
            gradient_clip=settings.gradient_clip,
        )
        fit(objective_task(objective, optimizer), source, loop, self.folder / job.name)
        return model.eval()

    @torch.inference_mode()
    def rank(self, model: UserModel) -> ColdRanks:
        """Rank all targets among all items, and cold targets among cold items.

        Items of a history are left out. Items with the same codes have equal scores; half of the
        ties precede the target, so that they favor no arm (pitfall P7).
        """
        scorer = encoder_scorer(model)
        cold = np.flatnonzero(self.split.asked_cold)
        candidates = torch.from_numpy(self.split.cold).to(self.device)
        return ColdRanks(
            self._rank(scorer, self._source(np.arange(len(self.split.rows)))),
            self._rank(among(scorer, candidates), self._source(cold)),
        )

    def _rank(self, scorer: Scorer, source: LastTargetBatches) -> Ranks:
        return rank_rows(
            scorer, source,
            hide_seen=True, ties="middle", batch_size=self.profile.evaluation_batch,
        )  # fmt: skip

    def _source(self, which: Ints) -> LastTargetBatches:
        """Return a source of some rows' histories and targets, held out or not."""
        return LastTargetBatches(
            self.split.log,
            self.split.rows.take(which),
            self.settings.model.length,
            targets=self.split.targets[which],
            padding_side=UserModel.padding_side,
            device=self.device,
        )
