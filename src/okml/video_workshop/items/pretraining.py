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

from okml.errors import ParameterError
from okml.paths import atomic_write
from okml.runtime import seed_everything
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.losses.base import wide
from okml.seqrec.rows import Mask
from okml.seqrec.tasks import OptimizerSettings, build_optimizer
from okml.training import SupervisedTask, TensorBatches, fit
from okml.training.rng import unchanged_random_state
from okml.video_workshop.common.content import Features
from okml.video_workshop.common.training import training_settings
from okml.video_workshop.items.cold_split import ColdSplit
from okml.video_workshop.items.multimodal import ContentTable, ModalitiesOf
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.items import CoEngagementSettings


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


AT_A_TIME = 2**24  # similarities held at once


def co_engaged_pairs(log: Interactions, first: Ints, end: Ints, window: int) -> Ints:
    """Return the pairs of different items that a user watched within a few events, ``[p, 2]``.

    Every pair is listed in both directions, as often as it was watched.

    Args:
        log: Event log of all users.
        first: Index of the first event of each user that counts, ``[u]``.
        end: One past the index of each user's last event that counts, ``[u]``.
        window: Largest distance between the two items of a pair, in events.

    Raises:
        ParameterError: If there is no pair.
    """
    user, place = log.users(), np.arange(len(log))
    counts = (place >= first[user]) & (place < end[user])
    user, items = user[counts], log.items[counts].astype(np.int64)
    parts = []
    for apart in range(1, min(window, len(items) - 1) + 1):
        pairs = np.stack([items[:-apart], items[apart:]], 1)
        parts.append(pairs[(user[:-apart] == user[apart:]) & (pairs[:, 0] != pairs[:, 1])])
    found = np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)
    if not len(found):
        raise ParameterError("No user has two different items in a row.", "Take more events.")
    return np.concatenate([found, found[:, ::-1]])


def partner_recall(vectors: Tensor, pairs: Ints, candidates: Mask, k: int = 10) -> float:
    """Return the share of pairs whose second item is among the first's ``k`` most similar ones.

    Args:
        vectors: Item vectors, ``[items + 1, d]``, compared by cosine similarity.
        pairs: Pairs of item numbers, ``[p, 2]``.
        candidates: Mask of the items that can be retrieved, ``[items + 1]``.
        k: Number of retrieved items, the first item itself excluded.
    """
    direction = functional.normalize(vectors, dim=1)
    absent = torch.from_numpy(~candidates).to(vectors.device)
    anchors, owner = np.unique(pairs[:, 0], return_inverse=True)
    found = []
    for part in torch.split(torch.from_numpy(anchors), max(1, AT_A_TIME // len(vectors))):
        rows = part.to(vectors.device)
        cosine = direction[rows] @ direction.T  # [a, items + 1]
        cosine[:, absent] = -torch.inf
        cosine.scatter_(1, rows[:, None], -torch.inf)
        found.append(cosine.topk(min(k, int(candidates.sum()))).indices.cpu())
    nearest = torch.cat(found).numpy()  # [anchors, k]
    return float((nearest[owner] == pairs[:, 1:]).any(1).mean())
