"""The study of item representations: the split, the tables, and the trained and ranked models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from okml.kept import trainings_folder
from okml.runtime import seed_everything
from okml.seqrec.batches import CausalBatch, CausalBatches, LastTargetBatches
from okml.seqrec.interactions import Ints
from okml.seqrec.losses import build_sampler
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import cut_windows
from okml.seqrec.scorers import Scorer, among, encoder_scorer
from okml.seqrec.tasks import EveryPosition
from okml.training import TensorBatches
from okml.training.rng import unchanged_random_state
from okml.video_workshop.common.content import Features, item_modalities
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.losses import catalog_loss
from okml.video_workshop.common.study import Study, kept_arrays
from okml.video_workshop.common.training import BETAS, task_of, train
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.arms import PRETRAINED, Job
from okml.video_workshop.items.cold_split import ColdSplit, hold_out_items
from okml.video_workshop.items.last_items import LastItems
from okml.video_workshop.items.maker import TableMaker
from okml.video_workshop.items.multimodal import ContentTable, Modalities
from okml.video_workshop.items.pretraining import CoEngagement, co_engaged_pairs, unit_vectors
from okml.video_workshop.settings.data import WatchLogSettings


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


class RedrawnTable(EveryPosition):
    """Next-item training that redraws the random choices of the item table for each batch."""

    def forward(self, batch: CausalBatch) -> Tensor:
        """Return the mean loss over the targets of a batch."""
        assert isinstance(self.encoder, UserModel)
        self.encoder.table.redraw()
        return super().forward(batch)


class ItemsStudy(Study):
    """The split of new items, and user models that are trained on each item table."""

    @property
    def data(self) -> WatchLogSettings:
        """Settings of the log of the theme."""
        return self.profile.cold_data or self.profile.data

    @cached_property
    def log(self) -> Watched:
        """The log of the theme."""
        return self.log_of(self.profile.cold_data)

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
        settings, counts = self.profile.items, self.split.counts
        return TableMaker(self.modalities, counts, settings, self.device, self.vectors)

    @cached_property
    def last_items(self) -> LastItems:
        """Models that are judged on everybody's last item."""
        return LastItems(self, self.log, self.data)

    @cached_property
    def folder(self) -> Path:
        """Folder of trainings, ranks and vectors."""
        return trainings_folder(self, ItemsStudy)

    def needs(self, job: Job) -> list[Job]:
        """Return the pre-training of content that a job starts from."""
        return [Job("co_engagement", job.seed)] if job.arm in PRETRAINED else []

    def train(self, job: Job) -> object:
        """Return the vectors of a pre-training, or the ranks of another training."""
        if job.arm == "co_engagement":
            return self.vectors(job.seed)
        return self.last_items.ranks(job) if job.last else self.ranks(job)

    def ranks(self, job: Job) -> ColdRanks:
        """Train and rank, or load the ranks of an earlier call."""
        path = self.folder / job.name / "ranks.npz"
        return ColdRanks(**kept_arrays(path, lambda: vars(self.rank(self.model(job)))))  # type: ignore[arg-type]

    def ranks_by_modality(self, job: Job) -> dict[str, ColdRanks]:
        """Rank with each modality alone, where items have several, to detect modality collapse.

        Args:
            job: Training of the arm ``content``.
        """
        names = tuple(self.maker.modalities(job.seed))
        if len(names) == 1:
            return {names[0]: self.ranks(job)}
        model, found = self.model(job), {}
        assert isinstance(model.table, ContentTable)
        for name in names:
            with model.table.only(name):
                found[name] = self.rank(model)
        return found

    def model(self, job: Job) -> UserModel:
        """Return a trained model; a finished training is loaded from its folder."""
        settings, split = self.profile.items, self.split
        seed_everything(job.seed)
        table = self.maker.make(job.arm, job.seed, job.codes)  # type: ignore[arg-type]
        model = UserModel(table, settings.model).to(self.device)
        loss = catalog_loss(settings.loss, split.counts, split.known).to(self.device)
        task = task_of(RedrawnTable(model, loss), settings, betas=BETAS)
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
        ties precede the target, so that they favor no arm (pitfall P7).
        """
        scorer = encoder_scorer(model)
        cold = np.flatnonzero(self.split.asked_cold)
        candidates = torch.from_numpy(self.split.cold).to(self.device)
        return ColdRanks(
            self._rank(scorer, np.arange(len(self.split.rows))),
            self._rank(among(scorer, candidates), cold),
        )

    def _rank(self, scorer: Scorer, which: Ints) -> Ranks:
        """Rank the targets of some rows, held out or not."""
        source = LastTargetBatches(
            self.split.log,
            self.split.rows.take(which),
            self.profile.items.model.length,
            targets=self.split.targets[which],
            padding_side=UserModel.padding_side,
            device=self.device,
        )
        batch = self.profile.evaluation_batch
        return rank_rows(scorer, source, hide_seen=True, ties="middle", batch_size=batch)

    @cached_property
    def pairs(self) -> Ints:
        """Training pairs: co-engaged items of training histories, ``[p, 2]``."""
        split, window = self.split, self.profile.items.pretraining.window
        return co_engaged_pairs(split.log, split.log.offsets[:-1], split.train_end, window)

    @cached_property
    def later_pairs(self) -> Ints:
        """Test pairs: co-engaged known items after the cut, ``[p, 2]``."""
        split, window = self.split, self.profile.items.pretraining.window
        found = co_engaged_pairs(split.log, split.train_end, split.log.offsets[1:], window)
        return found[split.known[found].all(1)]

    @cache  # noqa: B019 - a study lives as long as its run
    def vectors(self, seed: int) -> Features:
        """Pre-train content vectors, or load those of an earlier call.

        Returns:
            Unit vectors of all items, ``[items + 1, d]``; NaN for an item without any modality.
        """
        path = self.folder / f"co-engagement seed {seed}" / "vectors.npz"
        found = kept_arrays(
            path, lambda: {"vectors": unit_vectors(self.pretrained(seed)).cpu().numpy()}
        )
        return found["vectors"].astype(np.float32)

    def pretrained(self, seed: int) -> ContentTable:
        """Return the network that reads content, pre-trained on co-engaged pairs."""
        items, settings = self.profile.items, self.profile.items.pretraining
        pairs = torch.from_numpy(self.pairs).to(self.device)
        count = torch.bincount(pairs[:, 1], minlength=len(self.split.counts))
        # The global random state stays the same whether this training runs or is loaded.
        with unchanged_random_state():
            seed_everything(seed)
            table = ContentTable(
                self.modalities(seed), settings.width, items.hidden, items.modality_drop
            )
            model = CoEngagement(table.to(self.device), (count / len(pairs)).log(), settings)
            model.to(self.device)
            train(
                self.profile, task_of(model, settings, lambda model, batch: model(*batch)),
                TensorBatches(*pairs.T.contiguous()), self.folder / f"co-engagement seed {seed}",
                batch=settings.batch, steps=settings.steps, seed=seed,
                gradient_clip=items.gradient_clip,
            )  # fmt: skip
        return table.eval()
