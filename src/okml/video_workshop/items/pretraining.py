"""Contrastive pre-training of content vectors on items that are watched close together.

A network over an item's modalities learns to find the partner of an item among the other items of
a batch (InfoNCE), and to reconstruct its modalities (spec 4.2). It reads training events alone, so
the vector of a new item follows from its content.
"""

from __future__ import annotations

import math
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.paths import atomic_write
from okml.runtime import seed_everything
from okml.seqrec.interactions import Ints
from okml.seqrec.losses.base import wide
from okml.seqrec.tasks import OptimizerSettings, build_optimizer
from okml.training import SupervisedTask, TensorBatches, fit
from okml.training.rng import unchanged_random_state
from okml.video_workshop.content import Features
from okml.video_workshop.items.co_engagement import co_engaged_pairs
from okml.video_workshop.items.cold_split import ColdSplit
from okml.video_workshop.items.multimodal import ContentTable, ModalitiesOf
from okml.video_workshop.items.settings import CoEngagementSettings
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.training import training_settings


class CoEngagement(nn.Module):
    """A network over content with the losses of its pre-training.

    Args:
        table: Network over content and the features that it reads.
        log_q: Log share of each item among partners, ``[items + 1]``.
    """

    log_q: Tensor

    def __init__(self, table: ContentTable, log_q: Tensor, settings: CoEngagementSettings) -> None:
        super().__init__()
        self.table = table
        self.settings = settings
        self.decoders = nn.ModuleDict(
            {name: nn.Linear(table.width, table.features(name).shape[1])
             for name in table.encoder.names}
        )  # fmt: skip
        self.register_buffer("log_q", log_q, persistent=False)

    def forward(self, items: Tensor, partners: Tensor) -> dict[str, Tensor]:
        """Return the losses of pairs, ``items`` and ``partners`` ``[b]``; ``loss`` is their sum."""
        both = torch.cat([items, partners])
        vectors = self.table.lookup(both)  # [2 b, d]
        first, second = functional.normalize(vectors, dim=1).chunk(2)
        losses = {
            "partner": info_nce(
                first, second, items, partners, self.log_q, self.settings.temperature
            )
        }
        total = losses["partner"]
        for place, (name, decoder) in enumerate(self.decoders.items()):
            error = (wide(decoder(vectors)) - self.table.features(name)[both]).square().sum(1)
            there = self.table.there[both, place]
            losses[name] = (error * there).sum() / there.sum().clamp_min(1)
            total = total + self.settings.reconstruction * losses[name]
        return {"loss": total, **losses}


def info_nce(
    first: Tensor,
    second: Tensor,
    items: Tensor,
    partners: Tensor,
    log_q: Tensor,
    temperature: float,
) -> Tensor:
    """Return the mean cross-entropy of each item's partner beside the other partners of a batch.

    Popular items are partners more often, so ``log (b - 1) q`` is subtracted from the logits of
    negatives (see :class:`okml.seqrec.losses.sampled.SampledSoftmax`). Negatives that are the
    partner, or the item itself, are left out.

    Args:
        first: Unit vectors of the items, ``[b, d]``.
        second: Unit vectors of the partners, ``[b, d]``.
        items: Numbers of the items, ``[b]``.
        partners: Numbers of the partners, ``[b]``.
        log_q: Log share of each item among partners, ``[items + 1]``.
        temperature: Divisor of the cosines.
    """
    logits = wide(first @ second.T) / temperature  # [b, b]
    positive = logits.diagonal()[:, None]
    negatives = logits - log_q[partners] - math.log(max(len(items) - 1, 1))
    no_negative = (partners == partners[:, None]) | (partners == items[:, None])
    negatives = negatives.masked_fill(no_negative, -torch.inf)
    return (torch.cat([positive, negatives], 1).logsumexp(1) - positive[:, 0]).mean()


class ItemPretrainer:
    """The pre-trained content vectors of one training set.

    Args:
        modalities: Function from a seed to the features by modality, ``[items + 1, f_m]``.
        folder: Folder of trainings and vectors.
        device: Device on which models are trained.
    """

    def __init__(
        self,
        profile: VideoWorkshopProfile,
        split: ColdSplit,
        modalities: ModalitiesOf,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.profile = profile
        self.split = split
        self.modalities = modalities
        self.folder = folder
        self.device = device

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

    @cache  # noqa: B019 - a pre-trainer lives as long as its experiment
    def vectors(self, seed: int) -> Features:
        """Train, or load the vectors of an earlier call.

        Returns:
            Unit vectors of all items, ``[items + 1, d]``; NaN for an item without any modality.
        """
        path = self.folder / f"seed {seed}" / "vectors.npy"
        if path.is_file():
            return np.asarray(np.load(path), dtype=np.float32)
        found = unit_vectors(self.train(seed)).cpu().numpy()
        with atomic_write(path, "wb") as handle:
            np.save(handle, found)
        return found

    def train(self, seed: int) -> ContentTable:
        """Return the trained network; a finished training is loaded from its folder."""
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
            optimizer = build_optimizer(
                model,
                OptimizerSettings(
                    learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
                ),
            )
            loop = training_settings(
                self.profile, batch=settings.batch, steps=settings.steps, seed=seed,
                gradient_clip=items.gradient_clip,
            )  # fmt: skip
            task = SupervisedTask(model, lambda model, batch: model(*batch), optimizer)
            fit(task, TensorBatches(*pairs.T.contiguous()), loop, self.folder / f"seed {seed}")
        return table.eval()


@torch.inference_mode()
def unit_vectors(table: ContentTable) -> Tensor:
    """Return the unit vectors of all items, ``[items + 1, d]``; NaN without any modality."""
    unknown = ~table.there.any(1)[:, None]
    return functional.normalize(table(), dim=1).masked_fill(unknown, torch.nan)
