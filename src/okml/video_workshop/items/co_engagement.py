"""Pairs of items that are watched close together, and the recall of partners by vectors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.rows import Mask

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
