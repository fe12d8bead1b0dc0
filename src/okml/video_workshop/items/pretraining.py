"""Contrastive pre-training of content vectors on items that are watched close together.

A network over an item's modalities learns to find the partner of an item among the other items of
a batch (InfoNCE), and to reconstruct its modalities (spec 4.2). It reads training events alone, so
the vector of a new item follows from its content.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.losses.base import wide
from okml.seqrec.rows import Mask
from okml.video_workshop.items.multimodal import ContentTable
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
