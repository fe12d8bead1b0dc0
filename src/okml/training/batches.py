"""The order of examples over the steps of a training, and the construction of batches.

The order is a function of (seed, epoch) alone, and the examples of step ``b`` are a slice of it.
So two integers suffice to resume in the middle of an epoch, and the global batches do not depend
on the number of processes or of loader workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from okml.errors import TrainingError

Indices = NDArray[np.int64]

# Separate streams of random numbers under one seed.
ORDER_STREAM, BATCH_STREAM, LOADER_STREAM = 1, 2, 3


class BatchSource(Protocol):
    """Examples with random access by number: a data set, a replay buffer, a list of edges."""

    def __len__(self) -> int:
        """Return the number of examples in an epoch."""
        ...

    def batch(self, indices: Indices, rng: np.random.Generator) -> Any:
        """Build a batch.

        Args:
            indices: Numbers of the examples, ``[b]``.
            rng: The generator for augmentation, negative sampling and the like, to be used in
                place of global ones: it depends only on the seed and the position in the epoch.
        """
        ...


class TensorBatches:
    """Rows of tensors of equal length; a batch is a tuple of tensors."""

    def __init__(self, *tensors: Tensor) -> None:
        if len({len(tensor) for tensor in tensors}) != 1:
            raise TrainingError(f"Lengths differ: {[len(tensor) for tensor in tensors]}.")
        self.tensors = tensors

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.tensors[0])

    def batch(self, indices: Indices, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return the rows ``indices``, ``[b]``, of each tensor; ``rng`` is not used."""
        rows = torch.from_numpy(indices).to(self.tensors[0].device)
        return tuple(tensor[rows] for tensor in self.tensors)


@dataclass(frozen=True)
class DataOrder:
    """The order of the examples in all epochs.

    A global batch is cut into ``processes * accumulation`` near-equal micro-batches. The last
    batch of an epoch is short where the numbers do not divide; it is dropped only where it holds
    fewer examples than there are micro-batches.

    Args:
        examples: Number of examples in an epoch.
        batch_size: Number of examples in a global batch.
        shuffle: ``epoch``: a new permutation each epoch; ``replacement``: independent uniform
            draws, which need no memory for a permutation; ``none``: the order of the source.
        seed: The seed of the order.
        processes: Number of processes that share a batch.
        accumulation: Number of micro-batches of each process in a batch.
        least: Number of examples that a micro-batch needs, if a batch is cut into several.

    Raises:
        TrainingError: If micro-batches would be smaller.
    """

    examples: int
    batch_size: int
    shuffle: Literal["epoch", "replacement", "none"]
    seed: int
    processes: int = 1
    accumulation: int = 1
    least: int = 1

    def __post_init__(self) -> None:
        if self.steps_per_epoch == 0:
            raise TrainingError(
                f"{self.examples} examples in batches of {self.batch_size} leave less than "
                f"{self.least} to each of {self.parts} micro-batches ({self.processes} processes "
                f"times {self.accumulation} of gradient_accumulation).",
                "Use a larger batch, fewer processes or less gradient accumulation.",
            )

    @property
    def parts(self) -> int:
        """Number of micro-batches in a global batch."""
        return self.processes * self.accumulation

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps in an epoch."""
        needed = self.parts if self.parts == 1 else self.parts * self.least
        if self.batch_size < needed:
            return 0
        full, rest = divmod(self.examples, self.batch_size)
        return full + (rest >= needed)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Indices]:
        """Yield the examples of the global batches of an epoch, from batch ``first`` on."""
        permutation = None
        if self.shuffle == "epoch":
            rng = np.random.default_rng([self.seed, ORDER_STREAM, epoch])
            permutation = rng.permutation(self.examples)
        for number in range(first, self.steps_per_epoch):
            start = number * self.batch_size
            stop = min(start + self.batch_size, self.examples)
            if self.shuffle == "replacement":
                rng = np.random.default_rng([self.seed, ORDER_STREAM, epoch, number])
                yield rng.integers(self.examples, size=stop - start)
            elif permutation is not None:
                yield permutation[start:stop]
            else:
                yield np.arange(start, stop)


@dataclass(frozen=True)
class Share:
    """The indices of one micro-batch of one process, its random key and its weight.

    With ``weight``, the weighted sum over micro-batches, averaged over processes, is the mean over
    the global batch even where micro-batches differ in size by one.
    """

    indices: Indices
    key: tuple[int, ...]
    weight: float


@dataclass(frozen=True)
class _Shares:
    """The shares of one process in each batch of an epoch, in order."""

    order: DataOrder
    epoch: int
    first: int
    rank: int

    def __iter__(self) -> Iterator[list[Share]]:
        order = self.order
        mine = range(self.rank * order.accumulation, (self.rank + 1) * order.accumulation)
        for number, indices in enumerate(order.epoch(self.epoch, self.first), self.first):
            parts = np.array_split(indices, order.parts)
            yield [
                Share(
                    parts[part],
                    (order.seed, BATCH_STREAM, self.epoch, number, part),
                    len(parts[part]) * order.processes / len(indices),
                )
                for part in mine
            ]


class _Builder(Dataset[Any]):
    """A data set for torch's loader whose items are the lists of a step's micro-batches."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source

    def __getitem__(self, shares: list[Share]) -> list[tuple[Any, float]]:
        return [
            (self.source.batch(share.indices, np.random.default_rng(share.key)), share.weight)
            for share in shares
        ]


def micro_batches(
    source: BatchSource, order: DataOrder, epoch: int, first: int, rank: int, workers: int
) -> Iterator[list[tuple[Any, float]]]:
    """Yield, for each step of an epoch from ``first`` on, this process's (batch, weight) pairs."""
    # The loader draws a seed for its workers; a draw from the global generator would make a
    # resumed run differ from an uninterrupted one.
    generator = torch.Generator().manual_seed(
        int(np.random.default_rng([order.seed, LOADER_STREAM, epoch]).integers(2**62))
    )
    loader = DataLoader(
        _Builder(source),
        batch_size=None,
        sampler=_Shares(order, epoch, first, rank),
        num_workers=workers,
        generator=generator,
        collate_fn=_as_it_is,
    )
    yield from loader


def _as_it_is(batches: list[tuple[Any, float]]) -> list[tuple[Any, float]]:
    return batches
