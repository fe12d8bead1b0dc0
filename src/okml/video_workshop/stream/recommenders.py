"""What is kept up to date: a sequence model, or for contrast a vector for each user."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from okml.seqrec.batches import CausalBatch, LastTargetBatch
from okml.seqrec.encoder import Encoder
from okml.seqrec.mixers.base import PaddingSide
from okml.video_workshop.users.model import UserModel


class Recommender(nn.Module, ABC):
    """Vectors of requests, which are compared with those of items."""

    padding_side: PaddingSide = "right"

    @abstractmethod
    def forward(self, batch: CausalBatch) -> Tensor:
        """Return a vector for each position of a window, ``[b, n, d]``, to train on."""

    @abstractmethod
    def query(self, batch: LastTargetBatch) -> Tensor:
        """Return the vector after each history, ``[b, d]``, to recommend by."""

    @abstractmethod
    def item_matrix(self) -> Tensor:
        """Return the vectors of items, ``[items + 1, d]``; row 0 is padding."""

    def redraw(self) -> None:
        """Draw anew what is random in training; a training calls it once a batch."""


class SequenceRecommender(Recommender):
    """A user is what they did last: a new event changes the vector without any update.

    Args:
        encoder: A causal one.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.padding_side = encoder.padding_side

    def forward(self, batch: CausalBatch) -> Tensor:
        """Return a vector for each position of a window, ``[b, n, d]``."""
        return self.encoder(batch.items, batch.times, batch.padded)  # type: ignore[no-any-return]

    def query(self, batch: LastTargetBatch) -> Tensor:
        """Return the vector after each history, ``[b, d]``."""
        return self.encoder.last(batch.items, batch.times, batch.padded)

    def item_matrix(self) -> Tensor:
        """Return the vectors of items, ``[items + 1, d]``."""
        return self.encoder.item_matrix()

    def redraw(self) -> None:
        """Draw the items that the table plays new."""
        if isinstance(self.encoder, UserModel):
            self.encoder.table.redraw()


class MatrixFactorization(Recommender):
    """A user is a row that training has to write: nothing is known of a new user but popularity.

    The score of item ``i`` for user ``u`` is ``p_u q_i + b_i``; the last column of an item's
    vector is its bias, and that of every user's is 1. User rows start at zero.

    Args:
        users: Number of users.
        items: Number of items.
        width: Of ``p`` and ``q``.
        std: Of the first values of ``q``.
    """

    def __init__(self, users: int, items: int, width: int, std: float = 0.1) -> None:
        super().__init__()
        self.user = nn.Embedding(users, width)
        self.item = nn.Embedding(items + 1, width + 1, padding_idx=0)
        nn.init.zeros_(self.user.weight)
        nn.init.normal_(self.item.weight, std=std)
        with torch.no_grad():
            self.item.weight[:, -1].zero_()
            self.item.weight[0].zero_()

    def forward(self, batch: CausalBatch) -> Tensor:
        """Return the user's row at each position, ``[b, n, width + 1]``."""
        return self._rows(batch.user)[:, None].expand(-1, batch.items.shape[1], -1)

    def query(self, batch: LastTargetBatch) -> Tensor:
        """Return the users' rows, ``[b, width + 1]``."""
        return self._rows(batch.user)

    def item_matrix(self) -> Tensor:
        """Return the vectors and biases of items, ``[items + 1, width + 1]``."""
        return self.item.weight

    def _rows(self, user: Tensor) -> Tensor:
        rows = self.user(user)
        return torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
