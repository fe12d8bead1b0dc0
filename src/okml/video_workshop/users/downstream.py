"""The recommenders that stand on a user model: what each adds to it and trains for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.losses import ItemLoss
from okml.video_workshop.data import ACTIONS
from okml.video_workshop.users.batches import RequestBatch, WindowBatch
from okml.video_workshop.users.model import EventContext, UserModel

LIKE = 1 + ACTIONS.index("like")  # this action and those above it are likes
# What ranking predicts about an item that is shown: the action, and how it is recognized.
RANKED = ("like", "love", "dislike")


class Recommender(nn.Module, ABC):
    """A user model, and what one recommender adds to it.

    Args:
        model: Its frozen parameters stay as they are; if all are frozen, it has no dropout either.
        task: The recommender's number, for a model that several share; None: nobody else uses it.
    """

    def __init__(self, model: UserModel, task: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.task = task

    @abstractmethod
    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the losses of a batch by name; ``loss`` is minimized."""

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen model is never in training."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self.model.eval()
        return self

    def asking(self, context: EventContext) -> EventContext:
        """Return the context with the number of this recommender in it."""
        if self.task is None:
            return context
        task = torch.full((len(context.actions),), self.task, device=context.actions.device)
        return replace(context, task=task)


class Retrieval(Recommender):
    """Finds the next item that a user will like: a linear map of the user's vector.

    The map is the identity at first, so that a pre-trained model starts as its own predictor.

    Args:
        model: Under it.
        item_loss: Over the catalog.
        task: See :class:`Recommender`.
    """

    def __init__(self, model: UserModel, item_loss: ItemLoss, task: int | None = None) -> None:
        super().__init__(model, task)
        self.item_loss = item_loss
        self.map = _identity(model.settings.width)

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the loss over the targets that were liked."""
        hidden = self.map(self.model(batch.items, context=self.asking(batch.context)))
        targets = batch.targets * (batch.next_actions >= LIKE)
        return {"loss": self.item_loss(hidden, self.model.item_matrix(), targets, batch.negatives)}

    def vectors(self, batch: RequestBatch) -> Tensor:
        """Return what item vectors are compared with, ``[b, d]``."""
        context = self.asking(batch.context)
        return self.map(self.model.last(batch.items, context=context))  # type: ignore[no-any-return]


class Ranking(Recommender):
    """Predicts what a user will do with an item that is shown: one network, an output a task.

    It reads ``[h, e, h * e]`` of the user's vector and the item's.

    Args:
        model: Under it.
        task: See :class:`Recommender`.
    """

    def __init__(self, model: UserModel, task: int | None = None) -> None:
        super().__init__(model, task)
        width = model.settings.width
        self.scale = width**0.5  # of item vectors, as in the tokens
        self.head = nn.Sequential(
            nn.Linear(3 * width, width), nn.GELU(), nn.Linear(width, len(RANKED))
        )

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the binary cross-entropies over all targets, summed over tasks."""
        hidden = self.model(batch.items, context=self.asking(batch.context))  # [b, n, d]
        logits = self.logits(hidden, batch.targets)
        labels = ranked_labels(batch.next_actions)
        losses = functional.binary_cross_entropy_with_logits(
            logits.float(), labels.float(), reduction="none"
        ).sum(-1)  # [b, n]
        real = batch.targets != 0
        return {"loss": (losses * real).sum() / real.sum().clamp_min(1)}

    def logits(self, hidden: Tensor, items: Tensor) -> Tensor:
        """Return ``[..., tasks]`` of user vectors ``[..., d]`` and items ``[...]``."""
        vectors = self.model.table.lookup(items) * self.scale
        return self.head(torch.cat([hidden, vectors, hidden * vectors], -1))  # type: ignore[no-any-return]

    def requested(self, batch: RequestBatch) -> Tensor:
        """Return the logits of each request's target, ``[b, tasks]``."""
        hidden = self.model.last(batch.items, context=self.asking(batch.context))
        return self.logits(hidden, batch.target)


class Related(Recommender):
    """Finds what is liked after one item: the model reads that item alone.

    Args:
        model: Under it.
        item_loss: Over the catalog.
        task: See :class:`Recommender`.
    """

    def __init__(self, model: UserModel, item_loss: ItemLoss, task: int | None = None) -> None:
        super().__init__(model, task)
        self.item_loss = item_loss
        self.map = _identity(model.settings.width)

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the loss over pairs of liked items that followed each other."""
        liked = (batch.context.actions >= LIKE) & (batch.next_actions >= LIKE)
        targets = batch.targets[liked]
        hidden = self.of_items(batch.items[liked])
        return {"loss": self.item_loss(hidden, self.model.item_matrix(), targets, batch.negatives)}

    def of_items(self, items: Tensor) -> Tensor:
        """Return what item vectors are compared with after each of ``items`` ``[m]``, ``[m, d]``.

        The item was liked; when and what for the next request comes is not known.
        """
        nothing = torch.zeros_like(items)[:, None]
        context = self.asking(EventContext(nothing + LIKE, nothing, nothing))
        return self.map(self.model(items[:, None], context=context)[:, 0])  # type: ignore[no-any-return]


class Consolidated(Recommender):
    """All three recommenders as one model, told by a leading token who asks (spec 3.2.3).

    Args:
        model: With three tasks.
        item_loss: Over the catalog.
    """

    def __init__(self, model: UserModel, item_loss: ItemLoss) -> None:
        super().__init__(model)
        self.retrieval = Retrieval(model, item_loss, task=0)
        self.ranking = Ranking(model, task=1)
        self.related = Related(model, item_loss, task=2)

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the losses of the three, and their sum."""
        parts = ("retrieval", "ranking", "related")
        losses = {name: getattr(self, name)(batch)["loss"] for name in parts}
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}


def ranked_labels(actions: Tensor) -> Tensor:
    """Return which of the tasks of ranking each action fulfills, bool ``[..., tasks]``."""
    love, dislike = (1 + ACTIONS.index(name) for name in ("love", "dislike"))
    return torch.stack([actions >= LIKE, actions == love, actions == dislike], -1)


def _identity(width: int) -> nn.Linear:
    layer = nn.Linear(width, width)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
