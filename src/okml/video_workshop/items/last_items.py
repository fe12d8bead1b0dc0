"""MicroLens's protocol: each user's last item is ranked among all items."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch

from okml.paths import atomic_write
from okml.runtime import seed_everything
from okml.seqrec.batches import CausalBatches, LastTargetBatches
from okml.seqrec.interactions import Interactions
from okml.seqrec.losses import build_loss, build_sampler
from okml.seqrec.popularity import item_counts, popularity_scorer
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Rows
from okml.seqrec.scorers import Scorer, encoder_scorer
from okml.seqrec.splits import Split, leave_one_out
from okml.seqrec.tasks import OptimizerSettings, next_item_task, validation
from okml.training import fit
from okml.video_workshop.common.content import Features, item_modalities
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.table import IdTable, ItemTable
from okml.video_workshop.common.training import training_settings
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.hybrid import HybridTable
from okml.video_workshop.items.multimodal import ContentTable
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.items import LastItemArm

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
        folder: Folder of trainings and ranks.
        device: Device on which models are trained.
    """

    def __init__(
        self,
        profile: VideoWorkshopProfile,
        watched: Watched,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.profile = profile
        self.settings = profile.items.leave_one_out
        self.watched = watched
        self.interactions = watched.interactions
        self.split = leave_one_out(self.interactions)
        self.counts = item_counts(self.interactions, self.split.train_end)
        self.folder = folder
        self.device = device

    @cache  # noqa: B019 - lives as long as its study
    def modalities(self, seed: int) -> dict[str, Features]:
        """Return the item features by modality, ``[items + 1, f_m]`` each."""
        data = self.profile.cold_data or self.profile.data
        chosen = data.model_copy(update={"features": self.settings.features or data.features})
        return item_modalities(chosen, self.watched.films, self.counts > 0, seed)

    def ranks(self, arm: LastItemArm, seed: int) -> Ranks:
        """Train and rank, or load the ranks of an earlier call, ``[users tested]``."""
        path = self.folder / f"{arm} seed {seed}" / "ranks.npy"
        if path.is_file():
            return np.load(path)  # type: ignore[no-any-return]
        found = self.rank(encoder_scorer(self.train(arm, seed)))
        with atomic_write(path, "wb") as handle:
            np.save(handle, found)
        return found

    def popularity_ranks(self) -> Ranks:
        """Rank by the number of training events, the same for all users."""
        return self.rank(popularity_scorer(self.counts))

    @torch.inference_mode()
    def rank(self, scorer: Scorer) -> Ranks:
        """Rank last items among all items outside the history; half of the ties precede them."""
        return rank_rows(
            scorer, self._source(self.split.test),
            hide_seen=True, ties="middle", batch_size=self.profile.evaluation_batch,
        )  # fmt: skip

    def train(self, arm: LastItemArm, seed: int) -> UserModel:
        """Return a trained model; a finished training is loaded from its folder."""
        settings = self.settings
        seed_everything(seed)
        model = UserModel(self._table(arm, seed), settings.model).to(self.device)
        task = next_item_task(
            model,
            build_loss(settings.loss, self.counts).to(self.device),
            OptimizerSettings(
                learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
            ),
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
            device=self.device,
        )
        loop = training_settings(
            self.profile,
            batch=settings.batch,
            epochs=settings.epochs,
            seed=seed,
            gradient_clip=settings.gradient_clip,
            monitor=MONITOR,
            patience=settings.patience,
        )
        fit(task, source, loop, self.folder / f"{arm} seed {seed}")
        return model.eval()

    def _table(self, arm: LastItemArm, seed: int) -> ItemTable:
        items, width = self.interactions.item_count, self.settings.model.width
        if arm == "id":
            return IdTable(items, width)
        features = self.modalities(seed)
        if arm == "noise":
            features = noise_like(features, seed)
        content = ContentTable(
            features,
            width,
            self.profile.items.hidden,
            self.profile.items.modality_drop,
        )
        if arm == "content":
            return content
        return HybridTable(content, self.counts, pseudo_cold=0.0, gated=False)

    def _source(self, rows: Rows) -> LastTargetBatches:
        return LastTargetBatches(
            self.interactions,
            rows,
            self.settings.model.length,
            padding_side=UserModel.padding_side,
            device=self.device,
        )
