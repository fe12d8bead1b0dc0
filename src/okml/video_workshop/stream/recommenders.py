"""The recommenders on a stream: a sequence model, and as a baseline a matrix factorization."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from okml.seqrec.batches import CausalBatch, LastTargetBatch
from okml.seqrec.encoder import Encoder
from okml.seqrec.losses import ItemVectors
from okml.seqrec.mixers.base import PaddingSide
from okml.video_workshop.common.table import ItemTable
from okml.video_workshop.common.user_model import UserModel


class Recommender(nn.Module, ABC):
    """A recommender that scores items by inner products with the vector of a request."""

    padding_side: PaddingSide = "right"

    @abstractmethod
    def forward(self, batch: CausalBatch) -> Tensor:
        """Return a vector for each position of a window, ``[b, n, d]``, for training."""

    @abstractmethod
    def query(self, batch: LastTargetBatch) -> Tensor:
        """Return the query vector after each history, ``[b, d]``."""

    @abstractmethod
    def item_matrix(self) -> Tensor:
        """Return the vectors of items, ``[items + 1, d]``; row 0 is padding."""

    def scored(self, batch: CausalBatch, scores_all: bool) -> tuple[Tensor, ItemVectors]:
        """Return the vectors of a window's positions ``[b, n, d]``, and the items to score.

        Args:
            batch: Windows of a training step.
            scores_all: Whether the loss scores all items; else the batch's are enough.
        """
        return self(batch), self.item_matrix()

    @property
    def table(self) -> ItemTable | None:
        """Item table of a user model, which draws at random, counts events and loses rows."""
        return None


class SequenceRecommender(Recommender):
    """A recommender that encodes the history: new events change the vector without an update.

    Args:
        encoder: Causal encoder of histories.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.padding_side = encoder.padding_side

    def forward(self, batch: CausalBatch) -> Tensor:
        """Return a vector for each position of a window, ``[b, n, d]``."""
        return self.encoder(batch.items, batch.times, batch.padded)  # type: ignore[no-any-return]

    def scored(self, batch: CausalBatch, scores_all: bool) -> tuple[Tensor, ItemVectors]:
        """Return vectors of positions and items; a user model looks up what a step needs."""
        if not isinstance(self.encoder, UserModel):
            return super().scored(batch, scores_all)
        tokens, scored = self.encoder.read(
            batch.items, batch.targets, batch.negatives, scores_all=scores_all
        )
        return self.encoder(batch.items, batch.times, batch.padded, vectors=tokens), scored

    def query(self, batch: LastTargetBatch) -> Tensor:
        """Return the vector after each history, ``[b, d]``."""
        return self.encoder.last(batch.items, batch.times, batch.padded)

    def item_matrix(self) -> Tensor:
        """Return the vectors of items, ``[items + 1, d]``."""
        return self.encoder.item_matrix()

    @property
    def table(self) -> ItemTable | None:
        """Item table of a user model."""
        return self.encoder.table if isinstance(self.encoder, UserModel) else None


class MatrixFactorization(Recommender):
    """A recommender with a trained row per user; for a new user, it ranks by item biases only.

    The score of item ``i`` for user ``u`` is ``p_u q_i + b_i``; the last column of an item's
    vector is its bias, and that of every user's is 1. User rows start at zero.

    Args:
        users: Number of users.
        items: Number of items.
        width: Dimension of ``p`` and ``q``.
        std: Standard deviation of the initial values of ``q``.
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
