"""The interface of losses over items, which compare vectors of histories with those of items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.accelerator import fast_multiple
from okml.errors import ParameterError
from okml.seqrec.places import true_places


class ItemEmbeddings(Protocol):
    """Vectors by item number: the matrix of all items, or those that a step has looked up."""

    def __getitem__(self, ids: Tensor, /) -> Tensor:
        """Return the vectors ``[..., d]`` of the items ``ids`` ``[...]``."""
        ...


class ItemLoss(nn.Module, ABC):
    """A mean loss over targets; item 0 is padding and no class, and target 0 means no loss."""

    needs_negatives: ClassVar[bool] = False
    # Whether it scores all items, so that it needs their matrix; else targets and negatives alone.
    scores_all: ClassVar[bool] = True

    def forward(
        self,
        hidden: Tensor,
        items: ItemEmbeddings,
        targets: Tensor,
        negatives: Tensor | None = None,
        count: int | None = None,
    ) -> Tensor:
        """Return the mean loss of the targets that are not 0 (0 if there are none).

        Args:
            hidden: Vectors of histories, ``[..., d]``.
            items: Vectors of items, a matrix ``[V + 1, d]`` whose row 0 is padding; if not all
                items are scored, those of the targets and negatives are enough.
            targets: The next items, ``[...]``.
            negatives: Sampled items, ``[k]`` for all targets or ``[..., k]``.
            count: The number of targets that are not 0, so that the host need not wait for a
                device that counts them; None if it is not known.

        Raises:
            ParameterError: If the loss needs negatives and there are none.
        """
        if self.needs_negatives and negatives is None:
            raise ParameterError(
                f"{type(self).__name__} needs negatives.",
                "Give the source of batches a NegativeSampler; see build_sampler.",
            )
        # Many positions have no target because of padding, and products with the catalog cost
        # more than the selection of the others.
        there = targets.flatten() != 0
        kept = there.nonzero()[:, 0] if count is None else true_places(there, count)  # [r]
        if negatives is not None and negatives.ndim > 1:
            negatives = negatives.flatten(0, -2)[kept]  # [r, k]
        rows = hidden.flatten(0, -2)[kept]  # [r, d]
        total = self.total(rows, items, targets.flatten()[kept], negatives)
        return total / max(len(kept), 1)

    @abstractmethod
    def total(
        self, hidden: Tensor, items: ItemEmbeddings, targets: Tensor, negatives: Tensor | None
    ) -> Tensor:
        """Return the summed loss of ``hidden`` ``[r, d]``, whose targets ``[r]`` are not 0."""


def matrix(items: ItemEmbeddings) -> Tensor:
    """Return the vectors of all items, ``[V + 1, d]``.

    Raises:
        ParameterError: If only some were looked up.
    """
    if not isinstance(items, Tensor):
        raise ParameterError(
            "A full softmax scores all items, and only some were looked up.",
            "Choose a sampled softmax.",
        )
    return items


def scores(hidden: Tensor, items: ItemEmbeddings, candidates: Tensor) -> Tensor:
    """Return the products of ``hidden`` ``[r, d]`` with candidates ``[k]`` or ``[r, k]``."""
    vectors = items[candidates]  # [k, d] or [r, k, d]
    if candidates.ndim == 1:
        return hidden @ vectors.T
    return (vectors @ hidden[:, :, None]).squeeze(-1)


def aligned(table: Tensor) -> Tensor:
    """Return ``table``, ``[m, n]``, with zeros below and on the right.

    Both sizes become the next multiples of what the device multiplies fast.
    """
    multiple = fast_multiple(table.device)
    rows, columns = (size + -size % multiple for size in table.shape)
    return enlarged(table, rows, columns)


def enlarged(table: Tensor, rows: int, columns: int) -> Tensor:
    """Return ``table``, ``[m, n]``, with zeros below and on the right: ``[rows, columns]``."""
    below, right = rows - table.shape[0], columns - table.shape[1]
    return functional.pad(table, (0, right, 0, below)) if below or right else table


def wide(x: Tensor) -> Tensor:
    """Return ``x`` in at least float32, the precision of exponentials and of sums over items."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
