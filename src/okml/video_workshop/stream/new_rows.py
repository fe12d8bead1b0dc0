"""Initialization of new items' rows: random, the mean item, or items with similar content."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from okml.errors import ParameterError
from okml.video_workshop.items.table import IdTable
from okml.video_workshop.stream.prequential import Strategy
from okml.video_workshop.stream.recommenders import Recommender, SequenceRecommender
from okml.video_workshop.stream.settings import NewRows
from okml.video_workshop.stream.trainer import Effort, StreamTrainer
from okml.video_workshop.users.model import UserModel

NEIGHBORS = 10
TEMPERATURE = 0.1  # of the softmax over cosines of content
NOISE = 0.1  # standard deviation of the noise, relative to that of the known rows
STD = 0.02  # standard deviation of random rows, as in a new table


class RowInitializer:
    """Initializes the rows of new items; spec 4.9.

    ``random`` draws them as a new table does. ``mean_noise`` takes the mean of the known rows,
    ``content_knn`` the mean of the rows of the 10 items with the nearest content, weighted by a
    softmax of the cosine; both add noise with a tenth of the rows' standard deviation.

    Args:
        kind: Kind of the initialization.
        content: Content vector of each item, ``[items + 1, c]``, needed by ``content_knn`` only.
        seed: Random seed of the draws.
    """

    def __init__(self, kind: NewRows, content: Tensor | None = None, seed: int = 0) -> None:
        if kind == "content_knn" and content is None:
            raise ParameterError("Neighbors by content need the content of all items.")
        self.kind = kind
        self.content = None if content is None else functional.normalize(content.float(), dim=1)
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, known: Tensor, known_items: Tensor, new_items: Tensor) -> Tensor:
        """Return the initial rows of new items, ``[m, d]``.

        Args:
            known: Trained rows, ``[k, d]``.
            known_items: Items of the trained rows, ``[k]``.
            new_items: Items to initialize, ``[m]``.
        """
        noise = torch.randn(len(new_items), known.shape[1], generator=self.generator)
        noise = noise.to(known)
        if self.kind == "random" or len(known) < 2:
            return STD * noise
        noise = NOISE * known.std(0) * noise
        if self.kind == "mean_noise":
            return known.mean(0) + noise
        assert self.content is not None
        content = self.content.to(known.device)
        cosine = content[new_items] @ content[known_items].T  # [m, k]
        nearest = cosine.topk(min(NEIGHBORS, len(known)), dim=1)
        weights = (nearest.values / TEMPERATURE).softmax(1)  # [m, n]
        return (weights[:, :, None] * known[nearest.indices]).sum(1) + noise


class WithNewRows(Strategy):
    """Wraps a strategy and initializes the rows of appearing items before each period.

    Args:
        strategy: Wrapped strategy, which updates.
    """

    def __init__(self, strategy: Strategy, initializer: RowInitializer) -> None:
        self.strategy = strategy
        self.initializer = initializer

    @torch.no_grad()
    def welcome(self, trainer: StreamTrainer, recommender: Recommender, period: int) -> None:
        """Write the rows of the items that appear in the period."""
        self.strategy.welcome(trainer, recommender, period)
        weight = _id_rows(recommender)
        known = torch.from_numpy(trainer.stream.existing(period - 1)).to(weight.device)
        new = torch.from_numpy(trainer.stream.appearing(period)).to(weight.device)
        weight[new] = self.initializer(weight[known], known, new)

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Update by the wrapped strategy."""
        return self.strategy.update(trainer, recommender, period)


def _id_rows(recommender: Recommender) -> Tensor:
    encoder = recommender.encoder if isinstance(recommender, SequenceRecommender) else None
    if not isinstance(encoder, UserModel) or not isinstance(encoder.table, IdTable):
        raise ParameterError("Only a user model with a row for each item can be given new rows.")
    return encoder.table.rows.weight
