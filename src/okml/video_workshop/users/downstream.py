"""The recommenders on top of a user model, with their heads and losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from okml.errors import ParameterError
from okml.seqrec.losses import ItemLoss, ItemVectors
from okml.seqrec.places import true_places
from okml.seqrec.rows import Mask
from okml.video_workshop.common.data import ActionSet
from okml.video_workshop.common.heads import HeadKind, build_heads, multitask_loss
from okml.video_workshop.common.user_model import EventContext, UserModel
from okml.video_workshop.settings.users import MultiTaskHeadSettings
from okml.video_workshop.users.batches import RequestBatch, WindowBatch


class DownstreamModel(nn.Module, ABC):
    """A user model with the head of one recommender.

    Args:
        model: User model; if all its parameters are frozen, its dropout is off as well.
        task: Number of the recommender in a model that several share; None: not shared.
    """

    def __init__(self, model: UserModel, task: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.liked: Tensor  # whether an action is a success, [actions + 1]
        self.register_buffer("liked", torch.from_numpy(model.kinds.liked), persistent=False)
        self.like = int(model.kinds.liked.argmax())  # the first action that is one

    @abstractmethod
    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the losses of a batch by name; ``loss`` is minimized."""

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; a frozen user model stays in evaluation mode."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self.model.eval()
        return self

    def asking(self, context: EventContext) -> EventContext:
        """Return the context with the number of this recommender."""
        if self.task is None:
            return context
        task = torch.full((len(context.actions),), self.task, device=context.actions.device)
        return replace(context, task=task)


class Finder(DownstreamModel):
    """Retrieves items by the inner product with a linear map of the user's vector.

    The map starts as the identity, so that a pre-trained model starts as its own predictor.

    Args:
        item_loss: Loss over the catalog.
        task: Number of the recommender; see :class:`DownstreamModel`.
    """

    def __init__(self, model: UserModel, item_loss: ItemLoss, task: int | None = None) -> None:
        super().__init__(model, task)
        self.item_loss = item_loss
        self.map = _identity(model.settings.width)


class Retrieval(Finder):
    """Retrieves the next item that a user will like, from the user's vector."""

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the loss over the liked targets."""
        tokens, scored = self.model.read(
            batch.items, batch.targets, batch.negatives, scores_all=self.item_loss.scores_all
        )
        context = self.asking(batch.context)
        hidden = self.map(self.model(batch.items, context=context, vectors=tokens))
        targets = batch.targets * self.liked[batch.next_actions]
        loss = self.item_loss(hidden, scored, targets, batch.negatives, batch.liked)
        return {"loss": loss}

    def vectors(self, batch: RequestBatch) -> Tensor:
        """Return the query vectors of users, ``[b, d]``, whose inner products score items."""
        context = self.asking(batch.context)
        return self.map(self.model.last(batch.items, context=context))  # type: ignore[no-any-return]


class RankingModel(DownstreamModel):
    """Predicts a user's action on an exposed item, one logit per task.

    Its heads read ``[h, e, h * e]`` of the user's vector ``h`` and the item's ``e``.

    Args:
        tasks: Names of the predicted labels; see :func:`ranked_labels`.
        kind: Architecture of the heads, i.e. what tasks share.
        task: Number of the recommender; see :class:`DownstreamModel`.
    """

    def __init__(
        self,
        model: UserModel,
        tasks: Sequence[str],
        kind: HeadKind,
        heads: MultiTaskHeadSettings,
        task: int | None = None,
    ) -> None:
        super().__init__(model, task)
        self.tasks = tuple(tasks)
        self.labels: Tensor  # [actions + 1, tasks]
        labels = torch.from_numpy(ranked_labels(model.kinds, tasks)).float()
        self.register_buffer("labels", labels, persistent=False)
        width = model.settings.width
        self.scale = width**0.5  # of item vectors, as in the tokens
        self.heads = build_heads(kind, tasks, 3 * width, heads)

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the binary cross-entropies over all targets, by task, and their sum."""
        read, _ = self.model.read(batch.items, batch.targets)
        context = self.asking(batch.context)
        hidden = self.model(batch.items, context=context, vectors=read)  # [b, n, d]
        logits = self.logits(hidden, read[batch.targets]).float()
        labels, real = self.labels[batch.next_actions], batch.targets != 0
        return multitask_loss(
            self._by_task(logits), self._by_task(labels), dict.fromkeys(self.tasks, real)
        )

    def logits(self, hidden: Tensor, items: Tensor) -> Tensor:
        """Return the logits ``[..., tasks]`` of vectors of users and of items, ``[..., d]``."""
        vectors = items * self.scale
        joined = torch.cat([hidden, vectors, hidden * vectors], -1)
        found = self.heads(joined.flatten(0, -2))  # [n] by task
        stacked = torch.stack([found[task] for task in self.tasks], -1)
        return stacked.view(*items.shape[:-1], len(self.tasks))

    def _by_task(self, values: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.tasks, values.unbind(-1), strict=True))

    def requested(self, batch: RequestBatch) -> Tensor:
        """Return the logits of each request's target, ``[b, tasks]``."""
        hidden = self.model.last(batch.items, context=self.asking(batch.context))
        return self.logits(hidden, self.model.item_vectors(batch.target))


class Related(Finder):
    """Retrieves related items: those liked after one item, which is all that the model reads."""

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the loss over pairs of liked items that followed each other."""
        liked = self.liked[batch.context.actions] & self.liked[batch.next_actions]
        pairs = true_places(liked.flatten(), batch.liked_pairs)  # [m]
        items, targets = batch.items.flatten()[pairs], batch.targets.flatten()[pairs]
        tokens, scored = self.model.read(
            items, targets, batch.negatives, scores_all=self.item_loss.scores_all
        )
        hidden = self.of_items(items, tokens)
        return {"loss": self.item_loss(hidden, scored, targets, batch.negatives, len(targets))}

    def of_items(self, items: Tensor, vectors: ItemVectors | None = None) -> Tensor:
        """Return a query vector for each of ``items`` ``[m]``, ``[m, d]``.

        The item counts as liked; gap and hour of the next request are unknown and set to 0.
        """
        nothing = torch.zeros_like(items)[:, None]
        context = self.asking(EventContext(nothing + self.like, nothing, nothing))
        hidden = self.model(items[:, None], context=context, vectors=vectors)
        return self.map(hidden[:, 0])  # type: ignore[no-any-return]


class Consolidated(DownstreamModel):
    """All three recommenders as one model, with a leading token of the task (spec 3.2.3).

    Args:
        model: User model with three tasks.
        item_loss: Loss over the catalog.
        tasks: Names of the predicted labels of ranking.
        kind: Architecture of the ranking heads.
    """

    def __init__(
        self,
        model: UserModel,
        item_loss: ItemLoss,
        tasks: Sequence[str],
        kind: HeadKind,
        heads: MultiTaskHeadSettings,
    ) -> None:
        super().__init__(model)
        self.retrieval = Retrieval(model, item_loss, task=0)
        self.ranking = RankingModel(model, tasks, kind, heads, task=1)
        self.related = Related(model, item_loss, task=2)

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the losses of the three recommenders, and their sum."""
        parts = ("retrieval", "ranking", "related")
        losses = {name: getattr(self, name)(batch)["loss"] for name in parts}
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}


def ranked_labels(kinds: ActionSet, tasks: Sequence[str]) -> Mask:
    """Return which tasks of ranking each action fulfills, ``[actions + 1, tasks]``.

    Args:
        kinds: Actions of the log.
        tasks: Names of labels: ``liked`` for any success, else the name of a signal.

    Raises:
        ParameterError: If there is no such signal.
    """
    known = {name: kinds.members[:, place] for place, name in enumerate(kinds.signals)}
    known["liked"] = kinds.liked
    if unknown := set(tasks) - known.keys():
        raise ParameterError(
            f"No signal of the log is called {', '.join(sorted(unknown))}.",
            f"Known: {', '.join(known)}.",
        )
    return np.stack([known[task] for task in tasks], axis=1)


def _identity(width: int) -> nn.Linear:
    layer = nn.Linear(width, width)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
