"""Batches of pairs with what an encoder reads of their items."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.lightsage.features import HopFeatures
from okml.lightsage.network.encoder import Block
from okml.lightsage.network.sampler import NeighborSampler
from okml.lightsage.training.positives import Numbers, Positives
from okml.settings import Count, Settings, Whole
from okml.training.batches import Indices


class NegativeSettings(Settings):
    """Items that all pairs of a batch are pushed away from, beside each other's targets."""

    # Items that are never a target must be drawn too, or nothing ever lowers their scores.
    count: Count = 128  # M
    draw: Literal["uniform", "popularity"] = "uniform"  # popularity: in proportion to q^0.75
    hard: Whole = 0  # of each pair, near its item but not next to it


class HopInputs(NamedTuple):
    """What one hop of fixed features reads: rows of X and of A X, ``[2B + M + B H, F]``."""

    own: Tensor
    neighborhood: Tensor


class BlockInputs(NamedTuple):
    """What sampled hops read."""

    features: Tensor  # of the sources of the first block, [n0, F]
    ids: Tensor  # [n0]
    blocks: tuple[Block, ...]
    places: Tensor  # of the rows among the targets of the last block, [2B + M + B H]


class PairBatch(NamedTuple):
    """Pairs, negatives and their inputs: rows of items, targets, negatives, then hard ones."""

    inputs: HopInputs | BlockInputs
    query_ids: Tensor  # [B]
    target_ids: Tensor  # [B]
    negative_ids: Tensor  # [M]
    target_log_q: Tensor  # [B]
    negative_log_q: Tensor  # [M]
    hard: Tensor  # [B, H]; H may be 0


class Reader(Protocol):
    """Reads what an encoder needs of the items of a batch."""

    def read(
        self, pairs: tuple[Numbers, Numbers], others: Numbers, rng: np.random.Generator
    ) -> HopInputs | BlockInputs:
        """Return the inputs of items, targets and others, in that order."""
        ...


class HopReader:
    """Rows of X and A X; of a pair, each without the other.

    Args:
        features: Both tables.
        leave_edge_out: Take each pair's own edge out of both neighborhoods; exact for one hop.
        hidden_share: Share of rows whose neighborhood is hidden, so that an encoder has seen what
            an isolated item looks like.
    """

    def __init__(
        self, features: HopFeatures, *, leave_edge_out: bool = True, hidden_share: float = 0.0
    ) -> None:
        self.features = features
        self.leave_edge_out = leave_edge_out
        self.hidden_share = hidden_share

    def read(
        self, pairs: tuple[Numbers, Numbers], others: Numbers, rng: np.random.Generator
    ) -> HopInputs:
        """Return the rows of items, targets and others."""
        item, target = pairs
        ids, partner = np.concatenate([item, target]), np.concatenate([target, item])
        if self.leave_edge_out:
            own, mean = self.features.rows_without(ids, partner)
        else:
            own, mean = self.features.rows(ids)
        other_own, other_mean = self.features.rows(others)
        own, mean = np.concatenate([own, other_own]), np.concatenate([mean, other_mean])
        if self.hidden_share:
            mean[rng.random(len(mean)) < self.hidden_share] = 0
        return HopInputs(torch.from_numpy(own), torch.from_numpy(mean))


class BlockReader:
    """Features of sampled neighborhoods.

    Args:
        features: X, ``[N, F]``, an array or a memory map.
        sampler: Of the graph.
        leave_edge_out: Take the edges of all pairs of a batch out of the graph while it is read.
    """

    def __init__(
        self,
        features: NDArray[np.floating],
        sampler: NeighborSampler,
        *,
        leave_edge_out: bool = True,
    ) -> None:
        self.features = features
        self.sampler = sampler
        self.leave_edge_out = leave_edge_out

    def read(
        self, pairs: tuple[Numbers, Numbers], others: Numbers, rng: np.random.Generator
    ) -> BlockInputs:
        """Return the neighborhoods of items, targets and others."""
        seeds, places = np.unique(np.concatenate([*pairs, others]), return_inverse=True)
        without = np.stack(pairs) if self.leave_edge_out else None
        sampled = self.sampler.sample(seeds, rng, without)
        return BlockInputs(
            torch.from_numpy(np.asarray(self.features[sampled.nodes], np.float32)),
            torch.from_numpy(sampled.nodes),
            sampled.blocks,
            torch.from_numpy(places),
        )


class PairBatches:
    """Examples drawn with replacement: a pair by its weight, negatives beside it.

    An epoch is as many whole batches as give each edge one draw on average, so all processes get
    batches of one size.

    Args:
        positives: Where pairs come from.
        reader: What is read of their items.
        negatives: How many, and which.
        batch_size: B over all processes; an epoch is cut by it.
        candidates: Items that can be negatives; None: all.
        hard: For each item, items that are near it, ``[N, h]``; None where none are drawn.
    """

    def __init__(
        self,
        positives: Positives,
        reader: Reader,
        negatives: NegativeSettings,
        batch_size: int,
        *,
        candidates: Numbers | None = None,
        hard: NDArray[np.integer] | None = None,
    ) -> None:
        self.positives = positives
        self.reader = reader
        self.negatives = negatives
        self.hard = hard
        items = len(positives.target_share)
        self.candidates = np.arange(items) if candidates is None else candidates
        share = np.ones(len(self.candidates))
        if negatives.draw == "popularity":
            share = positives.target_share[self.candidates] ** 0.75
        share /= share.sum()
        self._cumulative = np.cumsum(share)
        self._cumulative[-1] = 1.0
        # How often an item is expected in the pool of a global batch: as a target, and drawn.
        expected = batch_size * positives.target_share
        expected[self.candidates] += negatives.count * share
        self._log_q = np.log(np.maximum(expected, 1e-30)).astype(np.float32)
        self._steps = -(-len(positives) // batch_size)
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Return the number of draws in an epoch, a multiple of the batch size."""
        return self._steps * self._batch_size

    def batch(self, indices: Indices, rng: np.random.Generator) -> PairBatch:
        """Draw as many pairs as there are ``indices``; which, only ``rng`` decides."""
        item, target = self.positives.draw(len(indices), rng)
        drawn = np.searchsorted(self._cumulative, rng.random(self.negatives.count), side="right")
        negative = self.candidates[drawn]
        hard = self._hard_of(item, rng)  # [B, H]
        others = np.concatenate([negative, hard.ravel()])
        return PairBatch(
            self.reader.read((item, target), others, rng),
            torch.from_numpy(item),
            torch.from_numpy(target),
            torch.from_numpy(negative),
            torch.from_numpy(self._log_q[target]),
            torch.from_numpy(self._log_q[negative]),
            torch.from_numpy(hard),
        )

    def _hard_of(self, item: Numbers, rng: np.random.Generator) -> Numbers:
        count = self.negatives.hard
        if not count or self.hard is None:
            return np.zeros((len(item), 0), np.int64)
        columns = rng.integers(self.hard.shape[1], size=(len(item), count))
        return self.hard[item[:, None], columns].astype(np.int64)
