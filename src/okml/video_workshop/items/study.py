"""The study of item representations: the splits, the tables, and the trained and ranked models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch

from okml.kept import trainings_folder
from okml.runtime import seed_everything
from okml.seqrec.batches import CausalBatches, LastTargetBatches
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.losses import build_loss, build_sampler
from okml.seqrec.popularity import item_counts, popularity_scorer
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Rows, cut_windows
from okml.seqrec.scorers import Scorer, among, encoder_scorer
from okml.seqrec.splits import Split, leave_one_out
from okml.seqrec.tasks import EveryPosition, validation
from okml.video_workshop.common.content import Features, item_modalities
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.losses import catalog_loss
from okml.video_workshop.common.study import Study, kept_arrays
from okml.video_workshop.common.table import IdTable, ItemTable
from okml.video_workshop.common.training import BETAS, NextItem, task_of, train
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.arms import ItemJob
from okml.video_workshop.items.cold_split import ColdSplit, hold_out_items
from okml.video_workshop.items.hybrid import HybridTable
from okml.video_workshop.items.maker import TableMaker
from okml.video_workshop.items.multimodal import ContentTable, Modalities
from okml.video_workshop.settings.data import WatchLogSettings

MONITOR = "hr@10"  # last items validate, as in MicroLens's scripts


@dataclass(frozen=True, eq=False)
class ColdRanks:
    """The ranks of all targets by one model.

    Attributes:
        full: Ranks among all items, ``[r]``.
        among_cold: Ranks of cold targets among cold items, ``[cold rows]``: the value of content
            without the popularity advantage of warm items.
    """

    full: Ranks
    among_cold: Ranks


def noise_like(modalities: Mapping[str, Features], seed: int) -> dict[str, Features]:
    """Return random unit vectors in the place of each modality's, ``[items + 1, f_m]`` each."""
    rng, found = np.random.default_rng(seed), {}
    for name, features in modalities.items():
        drawn = rng.standard_normal(features.shape)
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        found[name] = drawn.astype(np.float32)
    return found


class ItemsStudy(Study):
    """User models that are trained on each item table, and judged on new and on last items."""

    @property
    def data(self) -> WatchLogSettings:
        """Settings of the log of the theme."""
        return self.profile.cold_data or self.profile.data

    @cached_property
    def log(self) -> Watched:
        """The log of the theme."""
        return self.log_of(self.profile.cold_data)

    @cached_property
    def folder(self) -> Path:
        """Folder of trainings and ranks."""
        return trainings_folder(self, ItemsStudy)

    def needs(self, job: ItemJob) -> list[ItemJob]:
        """Return no job: a training starts from random weights."""
        return []

    def train(self, job: ItemJob) -> object:
        """Return the ranks of a training."""
        return self.last_ranks(job) if job.last else self.ranks(job)

    # New items: some are held out of training and asked for.

    @cached_property
    def split(self) -> ColdSplit:
        """Training events and test rows; some items are held out of training."""
        return hold_out_items(self.log.interactions, self.profile.items)

    @cache  # noqa: B019 - a study lives as long as its run
    def modalities(self, seed: int) -> Modalities:
        """Return the content features of items by modality, ``[items + 1, f_m]`` each."""
        return item_modalities(self.data, self.log.films, self.split.known, seed)

    @cached_property
    def maker(self) -> TableMaker:
        """Maker of the tables of the split's items."""
        return TableMaker(self.modalities, self.split.counts, self.profile.items, self.device)

    def ranks(self, job: ItemJob) -> ColdRanks:
        """Train and rank, or load the ranks of an earlier call."""
        path = self.folder / job.name / "ranks.npz"
        return ColdRanks(**kept_arrays(path, lambda: vars(self.rank(self.model(job)))))  # type: ignore[arg-type]

    def model(self, job: ItemJob) -> UserModel:
        """Return a trained model; a finished training is loaded from its folder."""
        settings, split = self.profile.items, self.split
        seed_everything(job.seed)
        table = self.maker.make(job.arm, job.seed)  # type: ignore[arg-type]
        model = UserModel(table, settings.model).to(self.device)
        loss = catalog_loss(settings.loss, split.counts, split.known).to(self.device)
        task = task_of(NextItem(model, loss), settings, betas=BETAS)
        source = CausalBatches(
            split.log,
            cut_windows(split.log, split.train_end, settings.model.length),
            padding_side=model.padding_side,
            jitter=True,
            negatives=build_sampler(settings.loss, split.counts),
            device=self.device,
        )
        train(
            self.profile, task, source, self.folder / job.name, batch=settings.batch,
            epochs=settings.epochs, seed=job.seed, gradient_clip=settings.gradient_clip,
        )  # fmt: skip
        return model.eval()

    @torch.inference_mode()
    def rank(self, model: UserModel) -> ColdRanks:
        """Rank all targets among all items, and cold targets among cold items.

        Items of a history are left out. Items with the same codes have equal scores; half of the
        ties precede the target, so that they favor no arm.
        """
        split, scorer = self.split, encoder_scorer(model)
        candidates = torch.from_numpy(split.cold).to(self.device)
        cold = np.flatnonzero(split.asked_cold)
        length = self.profile.items.model.length

        def ranks(scorer: Scorer, which: Ints) -> Ranks:
            rows, targets = split.rows.take(which), split.targets[which]
            return self._rank(scorer, self._requests(split.log, rows, length, targets))

        every = np.arange(len(split.rows))
        return ColdRanks(ranks(scorer, every), ranks(among(scorer, candidates), cold))

    # Everybody's last item, the protocol of MicroLens: each user's last event is the test, the one
    # before it the validation, and the newest window of the rest is trained on.

    @cached_property
    def last_split(self) -> Split:
        """Training, validation and test by leave-one-out."""
        return leave_one_out(self.log.interactions)

    @cached_property
    def last_counts(self) -> Ints:
        """Events of each item in training by leave-one-out, ``[items + 1]``."""
        return item_counts(self.log.interactions, self.last_split.train_end)

    @cache  # noqa: B019 - a study lives as long as its run
    def last_modalities(self, seed: int) -> dict[str, Features]:
        """Return the item features by modality, ``[items + 1, f_m]`` each."""
        features = self.profile.items.leave_one_out.features or self.data.features
        chosen = self.data.model_copy(update={"features": features})
        return item_modalities(chosen, self.log.films, self.last_counts > 0, seed)

    def last_ranks(self, job: ItemJob) -> Ranks:
        """Train and rank, or load the ranks of an earlier call, ``[users tested]``."""
        path = self.folder / job.name / "ranks.npz"
        rank = self.rank_last
        found = kept_arrays(path, lambda: {"ranks": rank(encoder_scorer(self.last_model(job)))})
        return found["ranks"].astype(np.float64)

    def popularity_ranks(self) -> Ranks:
        """Rank last items by the number of training events, the same for all users."""
        return self.rank_last(popularity_scorer(self.last_counts))

    @torch.inference_mode()
    def rank_last(self, scorer: Scorer) -> Ranks:
        """Rank last items among all items outside the history; half of the ties precede them."""
        return self._rank(scorer, self._last_requests(self.last_split.test))

    def last_model(self, job: ItemJob) -> UserModel:
        """Return a trained model; a finished training is loaded from its folder."""
        settings, counts = self.profile.items.leave_one_out, self.last_counts
        seed_everything(job.seed)
        model = UserModel(self._last_table(job), settings.model).to(self.device)
        evaluate = validation(
            self._last_requests(self.last_split.valid),
            hide_seen=True, batch_size=self.profile.evaluation_batch,
        )  # fmt: skip
        objective = EveryPosition(model, build_loss(settings.loss, counts).to(self.device))
        source = CausalBatches(
            self.log.interactions,
            self.last_split.training_windows(
                self.log.interactions, settings.model.length, per_user=1
            ),
            padding_side=model.padding_side,
            negatives=build_sampler(settings.loss, counts),
            device=self.device,
        )
        train(
            self.profile, task_of(objective, settings, evaluate=evaluate), source,
            self.folder / job.name, batch=settings.batch, epochs=settings.epochs, seed=job.seed,
            gradient_clip=settings.gradient_clip, monitor=MONITOR, patience=settings.patience,
        )  # fmt: skip
        return model.eval()

    def _last_table(self, job: ItemJob) -> ItemTable:
        items, width = self.profile.items, self.profile.items.leave_one_out.model.width
        if job.arm == "id":
            return IdTable(self.log.interactions.item_count, width)
        features = self.last_modalities(job.seed)
        if job.arm == "noise":
            features = noise_like(features, job.seed)
        content = ContentTable(features, width, items.hidden, items.modality_drop)
        if job.arm == "content":
            return content
        return HybridTable(content, self.last_counts, pseudo_cold=0.0, gated=False)

    def _last_requests(self, rows: Rows) -> LastTargetBatches:
        length = self.profile.items.leave_one_out.model.length
        return self._requests(self.log.interactions, rows, length)

    def _requests(
        self, log: Interactions, rows: Rows, length: int, targets: Ints | None = None
    ) -> LastTargetBatches:
        return LastTargetBatches(
            log, rows, length, targets=targets, padding_side=UserModel.padding_side,
            device=self.device,
        )  # fmt: skip

    def _rank(self, scorer: Scorer, source: LastTargetBatches) -> Ranks:
        batch = self.profile.evaluation_batch
        return rank_rows(scorer, source, hide_seen=True, ties="middle", batch_size=batch)
