"""MicroLens's protocol: each user's last item is ranked among all items."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch

from okml.kept import trainings_folder
from okml.runtime import seed_everything
from okml.seqrec.batches import CausalBatches, LastTargetBatches
from okml.seqrec.interactions import Interactions
from okml.seqrec.losses import build_loss, build_sampler
from okml.seqrec.popularity import item_counts, popularity_scorer
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Rows
from okml.seqrec.scorers import Scorer, encoder_scorer
from okml.seqrec.splits import Split, leave_one_out
from okml.seqrec.tasks import EveryPosition, validation
from okml.video_workshop.common.content import Features, item_modalities
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.study import Study, kept_arrays
from okml.video_workshop.common.table import IdTable, ItemTable
from okml.video_workshop.common.training import task_of, train
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.arms import Job
from okml.video_workshop.items.hybrid import HybridTable
from okml.video_workshop.items.multimodal import ContentTable
from okml.video_workshop.settings.data import WatchLogSettings

MONITOR = "hr@10"  # of validation, as in MicroLens's scripts


def later_training_share(interactions: Interactions, split: Split) -> float:
    """Return the share of training events that are later than a test target, a mean over targets.

    A model is tested at a moment that its training has partly seen. A split by the clock has 0.
    """
    trained = np.arange(len(interactions)) < split.train_end[interactions.users()]
    times = np.sort(interactions.times[trained])
    until = np.searchsorted(times, interactions.times[split.test.end], side="right")
    return float(1 - (until / len(times)).mean())


def noise_like(modalities: Mapping[str, Features], seed: int) -> dict[str, Features]:
    """Return random unit vectors in the place of each modality's, ``[items + 1, f_m]`` each."""
    rng, found = np.random.default_rng(seed), {}
    for name, features in modalities.items():
        drawn = rng.standard_normal(features.shape)
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        found[name] = drawn.astype(np.float32)
    return found


class LastItems:
    """The split, and models that are trained and tested on it.

    Each user's last event is the test, the one before it the validation, and the newest window of
    the rest is trained on. At the test the validation event belongs to the history.

    Args:
        study: Study of the run.
        watched: Log of the theme.
        data: Settings of that log.
    """

    def __init__(self, study: Study, watched: Watched, data: WatchLogSettings) -> None:
        self.study = study
        self.profile = study.profile
        self.settings = study.profile.items.leave_one_out
        self.watched = watched
        self.data = data
        self.interactions = watched.interactions
        self.split = leave_one_out(self.interactions)
        self.counts = item_counts(self.interactions, self.split.train_end)

    @cached_property
    def folder(self) -> Path:
        """Folder of trainings and ranks."""
        return trainings_folder(self.study, LastItems)

    @cache  # noqa: B019 - lives as long as its study
    def modalities(self, seed: int) -> dict[str, Features]:
        """Return the item features by modality, ``[items + 1, f_m]`` each."""
        features = self.settings.features or self.data.features
        chosen = self.data.model_copy(update={"features": features})
        return item_modalities(chosen, self.watched.films, self.counts > 0, seed)

    def ranks(self, job: Job) -> Ranks:
        """Train and rank, or load the ranks of an earlier call, ``[users tested]``."""
        path = self.folder / job.name / "ranks.npz"
        found = kept_arrays(path, lambda: {"ranks": self.rank(encoder_scorer(self.model(job)))})
        return found["ranks"].astype(np.float64)

    def popularity_ranks(self) -> Ranks:
        """Rank by the number of training events, the same for all users."""
        return self.rank(popularity_scorer(self.counts))

    @torch.inference_mode()
    def rank(self, scorer: Scorer) -> Ranks:
        """Rank last items among all items outside the history; half of the ties precede them."""
        batch = self.profile.evaluation_batch
        source = self._source(self.split.test)
        return rank_rows(scorer, source, hide_seen=True, ties="middle", batch_size=batch)

    def model(self, job: Job) -> UserModel:
        """Return a trained model; a finished training is loaded from its folder."""
        settings, device = self.settings, self.study.device
        seed_everything(job.seed)
        model = UserModel(self._table(job), settings.model).to(device)
        task = task_of(
            EveryPosition(model, build_loss(settings.loss, self.counts).to(device)),
            settings,
            evaluate=validation(
                self._source(self.split.valid),
                hide_seen=True,
                batch_size=self.profile.evaluation_batch,
            ),
        )
        source = CausalBatches(
            self.interactions,
            self.split.training_windows(self.interactions, settings.model.length, per_user=1),
            padding_side=model.padding_side,
            negatives=build_sampler(settings.loss, self.counts),
            device=device,
        )
        train(
            self.profile, task, source, self.folder / job.name, batch=settings.batch,
            epochs=settings.epochs, seed=job.seed, gradient_clip=settings.gradient_clip,
            monitor=MONITOR, patience=settings.patience,
        )  # fmt: skip
        return model.eval()

    def _table(self, job: Job) -> ItemTable:
        items, width = self.profile.items, self.settings.model.width
        if job.arm == "id":
            return IdTable(self.interactions.item_count, width)
        features = self.modalities(job.seed)
        if job.arm == "noise":
            features = noise_like(features, job.seed)
        content = ContentTable(features, width, items.hidden, items.modality_drop)
        if job.arm == "content":
            return content
        return HybridTable(content, self.counts, pseudo_cold=0.0, gated=False)

    def _source(self, rows: Rows) -> LastTargetBatches:
        return LastTargetBatches(
            self.interactions, rows, self.settings.model.length,
            padding_side=UserModel.padding_side, device=self.study.device,
        )  # fmt: skip
