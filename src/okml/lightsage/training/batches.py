"""Batches of pairs with the inputs of their items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.accelerator import upload
from okml.errors import DataError
from okml.lightsage.features import HopFeatures
from okml.lightsage.network.encoder import MessageFlow
from okml.lightsage.network.sampler import NeighborSampler
from okml.lightsage.ranking import Numbers
from okml.settings import Count, Settings, Whole
from okml.training.batches import Indices


@dataclass(frozen=True, eq=False)
class Positives:
    """Directed edges (i, j): transitions from i to j.

    Attributes:
        item: Item i of each edge, ``[e]``.
        neighbor: Item j of each edge, ``[e]``.
        cumulative: Cumulative probabilities, ``[e]``; the last one is 1.
        target_share: Probability q that an item is drawn as j, ``[N]``, which sums to 1.
    """

    item: Numbers
    neighbor: Numbers
    cumulative: NDArray[np.float64]
    target_share: NDArray[np.float64]

    @classmethod
    def of(cls, directed: pl.DataFrame, items: int) -> Positives:
        """Return positives whose probability is proportional to their weight.

        Args:
            directed: Directed edges with the columns ``item``, ``neighbor``, ``weight``.
            items: Number of items N.

        Raises:
            DataError: If there is no edge.
        """
        if directed.is_empty():
            raise DataError("The graph has no edges, so there is nothing to learn from.")
        share = directed["weight"].to_numpy().astype(np.float64)
        share = share / share.sum()
        neighbor = directed["neighbor"].to_numpy().astype(np.int64)
        cumulative = np.cumsum(share)
        cumulative[-1] = 1.0  # exact despite rounding
        return cls(
            directed["item"].to_numpy().astype(np.int64),
            neighbor,
            cumulative,
            np.asarray(np.bincount(neighbor, weights=share, minlength=items), np.float64),
        )

    def __len__(self) -> int:
        """Return the number of edges."""
        return len(self.item)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
        """Draw pairs with replacement, ``[count]`` each."""
        edges = drawn_places(self.cumulative, count, rng)
        return self.item[edges], self.neighbor[edges]


def drawn_places(cumulative: NDArray[np.float64], count: int, rng: np.random.Generator) -> Numbers:
    """Draw places with replacement by their cumulative probabilities, ``[count]``."""
    uniform = rng.random(count)
    order = np.argsort(uniform)  # sorted places make reads of memory sequential
    places = np.empty(count, np.int64)
    places[order] = np.searchsorted(cumulative, uniform[order], side="right")
    return places


class NegativeSettings(Settings):
    """The negatives of a batch besides the targets of its other pairs."""

    # Items that are never a target must be drawn too, or their scores are never lowered.
    count: Count = 128  # M
    draw: Literal["uniform", "popularity"] = "uniform"  # popularity: in proportion to q^0.75
    hard: Whole = 0  # negatives of each pair that are close to its item but not adjacent


class HopInputs(NamedTuple):
    """Inputs of one hop of fixed features: rows of X and of A X, ``[2B + M + B H, F]``."""

    own: Tensor
    neighborhood: Tensor


class BlockInputs(NamedTuple):
    """Inputs of sampled hops, from the first block to the last.

    Attributes:
        features: Features of the sources of the first block, ``[n0, F]``.
        ids: Numbers of these sources, ``[n0]``.
        blocks: The edges of each hop.
        places: Place of each row among the targets of the last block, ``[2B + M + B H]``.
    """

    features: Tensor
    ids: Tensor
    blocks: tuple[MessageFlow, ...]
    places: Tensor


class PairBatch(NamedTuple):
    """Pairs, negatives and their inputs, in the order items, targets, negatives, hard negatives."""

    inputs: HopInputs | BlockInputs
    query_ids: Tensor  # [B]
    target_ids: Tensor  # [B]
    negative_ids: Tensor  # [M]
    target_log_q: Tensor  # [B]
    negative_log_q: Tensor  # [M]
    hard: Tensor  # [B, H]; H may be 0


class HopReader:
    """Reads rows of X and A X, without the edge between the items of a pair.

    Args:
        features: Tables X and A X.
        leave_edge_out: Whether each pair's own edge is removed from both neighborhoods, which is
            exact for one hop.
        hidden_share: Share of rows with a hidden neighborhood, so that training includes isolated
            items.
    """

    def __init__(
        self, features: HopFeatures, *, leave_edge_out: bool = True, hidden_share: float = 0.0
    ) -> None:
        self.features = features
        self.leave_edge_out = leave_edge_out
        self.hidden_share = hidden_share

    @property
    def device(self) -> torch.device:
        """Device of the graph."""
        return self.features.adjacency.device

    def read(
        self, pairs: tuple[Tensor, Tensor], others: Tensor, rng: np.random.Generator
    ) -> HopInputs:
        """Return the rows of items, targets and others, in that order.

        Args:
            pairs: Numbers of the items and of their targets, int64 ``[B]`` each.
            others: Numbers of the negatives, int64 ``[M + B H]``.
            rng: Random generator of the hidden neighborhoods.
        """
        item, target = pairs
        ids = torch.cat([item, target, others])  # [2B + M + B H]
        if self.leave_edge_out:
            partner = torch.cat([target, item, others])  # no item is its own neighbor
            own, mean = self.features.rows_without(ids, partner)
        else:
            own, mean = self.features.rows(ids)
        if self.hidden_share:
            hidden = torch.from_numpy(rng.random(len(mean)) < self.hidden_share)
            mean = mean.masked_fill(hidden.to(self.device).unsqueeze(1), 0)
        return HopInputs(own, mean)


class BlockReader:
    """Reads features of sampled neighborhoods.

    Args:
        features: Features X, ``[N, F]``, on the device of the graph.
        leave_edge_out: Whether the edges of all pairs of a batch are removed from the graph.
    """

    def __init__(
        self, features: Tensor, sampler: NeighborSampler, *, leave_edge_out: bool = True
    ) -> None:
        self.features = features
        self.sampler = sampler
        self.leave_edge_out = leave_edge_out

    @property
    def device(self) -> torch.device:
        """Device of the graph."""
        return self.sampler.adjacency.device

    def read(
        self, pairs: tuple[Tensor, Tensor], others: Tensor, rng: np.random.Generator
    ) -> BlockInputs:
        """Return the neighborhoods of items, targets and others, in that order.

        Args:
            pairs: Numbers of the items and of their targets, int64 ``[B]`` each.
            others: Numbers of the negatives, int64 ``[M + B H]``.
            rng: Random generator of the sampled neighbors.
        """
        seeds, places = torch.unique(torch.cat([*pairs, others]), return_inverse=True)
        count = len(pairs[0])
        without = places[: 2 * count].view(2, count) if self.leave_edge_out else None
        sampled = self.sampler.sample(seeds, rng, without)
        features = self.features[sampled.nodes]  # [n0, F]
        return BlockInputs(features, sampled.nodes, sampled.blocks, places)


Reader = HopReader | BlockReader


class PairBatches:
    """A source of pairs, drawn by weight with replacement, with negatives.

    Numbers are drawn on the CPU and sent to the reader's device at once; all else is done there.
    An epoch has as many whole batches as give each edge one draw on average, so all processes have
    batches of the same size.

    Args:
        reader: Reader of the items' inputs.
        negatives: Number and distribution of negatives.
        batch_size: Batch size B over all processes.
        candidates: Numbers of the items that can be negatives; None: all.
        hard: Candidate hard negatives of each item, ``[N, h]``; None: no hard negatives.
    """

    def __init__(
        self,
        positives: Positives,
        reader: Reader,
        negatives: NegativeSettings,
        batch_size: int,
        candidates: Numbers | None = None,
        *,
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
        # Expected count of an item in the pool of a global batch, as a target and as a negative.
        expected = batch_size * positives.target_share
        expected[self.candidates] += negatives.count * share
        log_q = np.log(np.maximum(expected, 1e-30)).astype(np.float32)
        self._log_q = torch.from_numpy(log_q).to(reader.device)
        self._steps = -(-len(positives) // batch_size)
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Return the number of draws in an epoch, a multiple of the batch size."""
        return self._steps * self._batch_size

    def batch(self, indices: Indices, rng: np.random.Generator) -> PairBatch:
        """Draw as many pairs as there are ``indices``; only ``rng`` determines them."""
        item, target = self.positives.draw(len(indices), rng)
        drawn = drawn_places(self._cumulative, self.negatives.count, rng)
        hard = self._hard_of(item, rng)  # [B, H]
        parts = item, target, self.candidates[drawn], hard.ravel()
        numbers = upload(torch.from_numpy(np.concatenate(parts)), self.reader.device)
        query_ids, target_ids, negative_ids, hard_ids = torch.split(
            numbers, [len(part) for part in parts]
        )
        others = torch.cat([negative_ids, hard_ids])
        return PairBatch(
            self.reader.read((query_ids, target_ids), others, rng),
            query_ids,
            target_ids,
            negative_ids,
            self._log_q[target_ids],
            self._log_q[negative_ids],
            hard_ids.view(hard.shape),
        )

    def _hard_of(self, item: Numbers, rng: np.random.Generator) -> Numbers:
        count = self.negatives.hard
        if not count or self.hard is None:
            return np.zeros((len(item), 0), np.int64)
        columns = rng.integers(self.hard.shape[1], size=(len(item), count))
        return self.hard[item[:, None], columns].astype(np.int64)
