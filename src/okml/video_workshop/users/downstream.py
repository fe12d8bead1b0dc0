"""The recommenders on top of a user model, with their heads and losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from okml.errors import ParameterError
from okml.seqrec.losses import ItemLoss
from okml.seqrec.rows import Mask
from okml.video_workshop.common.data import ActionSet
from okml.video_workshop.common.heads import MMoE, multitask_loss
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.settings.users import MultiTaskHeadSettings
from okml.video_workshop.users.batches import RequestBatch, WindowBatch


class DownstreamModel(nn.Module, ABC):
    """A user model with the head of one recommender.

    Args:
        model: User model; if all its parameters are frozen, its dropout is off as well.
    """

    def __init__(self, model: UserModel) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the losses of a batch by name; ``loss`` is minimized."""

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; a frozen user model stays in evaluation mode."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self.model.eval()
        return self


class Retrieval(DownstreamModel):
    """Retrieves the next item that a user will like.

    Scores are inner products with a linear map of the user's vector. The map starts as the
    identity, so that a pre-trained model starts as its own predictor.

    Args:
        model: User model that encodes the history.
        item_loss: Loss over the catalog.
    """

    def __init__(self, model: UserModel, item_loss: ItemLoss) -> None:
        super().__init__(model)
        self.item_loss = item_loss
        self.liked: Tensor  # whether an action is a success, [actions + 1]
        self.register_buffer("liked", torch.from_numpy(model.kinds.liked), persistent=False)
        self.map = nn.Linear(model.settings.width, model.settings.width)
        nn.init.eye_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the loss over the liked targets."""
        tokens, scored = self.model.read(
            batch.items, batch.targets, batch.negatives, scores_all=self.item_loss.scores_all
        )
        hidden = self.map(self.model(batch.items, context=batch.context, vectors=tokens))
        targets = batch.targets * self.liked[batch.next_actions]
        return {"loss": self.item_loss(hidden, scored, targets, batch.negatives, batch.liked)}

    def vectors(self, batch: RequestBatch) -> Tensor:
        """Return the query vectors of users, ``[b, d]``, whose inner products score items."""
        return self.map(self.model.last(batch.items, context=batch.context))  # type: ignore[no-any-return]


class RankingModel(DownstreamModel):
    """Predicts a user's action on an exposed item, one logit per task.

    Its heads, MMoE, read ``[h, e, h * e]`` of the user's vector ``h`` and the item's ``e``.

    Args:
        model: User model that encodes the history.
        tasks: Names of the predicted labels; see :func:`ranked_labels`.
        heads: Sizes of the heads.
    """

    def __init__(
        self, model: UserModel, tasks: Sequence[str], heads: MultiTaskHeadSettings
    ) -> None:
        super().__init__(model)
        self.tasks = tuple(tasks)
        self.labels: Tensor  # [actions + 1, tasks]
        labels = torch.from_numpy(ranked_labels(model.kinds, tasks)).float()
        self.register_buffer("labels", labels, persistent=False)
        width = model.settings.width
        self.scale = width**0.5  # tokens scale item vectors alike
        self.heads = MMoE(tasks, 3 * width, heads)

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the binary cross-entropies over all targets, by task, and their sum."""
        read, _ = self.model.read(batch.items, batch.targets)
        hidden = self.model(batch.items, context=batch.context, vectors=read)  # [b, n, d]
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
        hidden = self.model.last(batch.items, context=batch.context)
        return self.logits(hidden, self.model.item_vectors(batch.target))


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
