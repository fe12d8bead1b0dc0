"""Networks that are plain tables, and MDPs small enough to be solved exactly."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from torch import nn
from torch.nn import functional

from okml.offline_rl.episodes import Episodes, TransitionBatches
from okml.seqrec.encoder import Encoder
from okml.seqrec.interactions import Interactions
from okml.seqrec.rows import cut_windows


class TableEncoder(Encoder):
    """The state is the last item; its vector is one-hot, so the item matrix is a free table."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.padding_side = "right"
        self.items = items
        self.table = nn.Parameter(torch.zeros(items + 1, items + 1))

    def forward(self, items, times=None, padded=True):
        return functional.one_hot(items, self.items + 1).to(self.table.dtype)

    def item_matrix(self):
        return self.table

    def flops(self, length):
        return 0


def episodes(sequences, rewards, gamma=0.9):
    """Return episodes of items (from 1) and the reward of each item."""
    rows = [
        (f"{user:05}", f"{item:03}", step, float(reward))
        for user, (items, values) in enumerate(zip(sequences, rewards, strict=True))
        for step, (item, reward) in enumerate(zip(items, values, strict=True))
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "value"], orient="row")
    return Episodes.of(Interactions.from_frame(frame), gamma)


def source(made, length, jitter=False):
    """Return batches of windows of everything."""
    windows = cut_windows(made.interactions, made.interactions.offsets[1:], length)
    return TransitionBatches(made, windows, jitter=jitter)


def whole_batch(made, length):
    """Return all windows as one batch."""
    batches = source(made, length)
    return batches.batch(np.arange(len(batches)), np.random.default_rng(0))


def policy_value(policy, rewards, gamma, horizon, start):
    """Return the expected discounted return of a Markov policy, by the recursion over steps.

    Args:
        policy: ``[s, a]`` for items 1 to N as states and actions (index 0 unused).
        rewards: ``[s, a]``.
        gamma: Discount.
        horizon: Actions of an episode.
        start: Distribution of the first state, ``[s]``.
    """
    value = np.zeros(len(policy))
    for _ in range(horizon):
        value = (policy * (rewards + gamma * value[None, :])).sum(1)
    return float(start @ value)
