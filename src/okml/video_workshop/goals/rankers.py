"""Rankers: networks and simple click models, their training, and the value of their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.settings import BackboneSettings
from okml.training import SupervisedTask
from okml.video_workshop.common.heads import MMoE, SharedBottom, multitask_loss
from okml.video_workshop.common.training import task_of
from okml.video_workshop.goals.impressions import (
    NOBODY,
    ImpressionBatch,
    Impressions,
)
from okml.video_workshop.goals.simulator import Score, Situation, by_table
from okml.video_workshop.goals.world import Floats, Ints, sigmoid
from okml.video_workshop.settings.goals import RankerKind, RankerSettings

Values = TypeVar("Values", bound=Any)
GIVEN_CLICK = ("watch", "like")  # tasks whose predictions are conditional on a click


@dataclass(frozen=True)
class ValueModel:
    """Scores an item by the expected responses to showing it.

    A prediction conditional on a click is multiplied by the click probability ``p``:
    ``p E[watch | click]`` is the expected watching of an impression.

    Attributes:
        weights: Weight of each response per impression: ``click``, ``watch``, ``like``, ``hate``.
    """

    weights: Mapping[str, float]

    def __call__(self, answers: Mapping[str, Values]) -> Values:
        """Return the score.

        Args:
            answers: Probabilities of each task, arrays or tensors of one shape.

        Raises:
            ParameterError: If a weighted task, or the click that it needs, has no answer.
        """
        needed = {*self.weights}
        if needed.intersection(GIVEN_CLICK):
            needed.add("click")
        if missing := needed - answers.keys():
            raise ParameterError(
                f"No answer for {', '.join(sorted(missing))}.",
                f"The ranker has {', '.join(answers)}; leave other weights out.",
            )
        found: Any = 0.0
        for task, weight in self.weights.items():
            rate = answers[task] * answers["click"] if task in GIVEN_CLICK else answers[task]
            found = found + weight * rate
        return found  # type: ignore[no-any-return]


STD = 0.05  # standard deviation of the initial user and item vectors
HEADS = {"mlp": SharedBottom, "transformer": SharedBottom, "mmoe": MMoE}


class UserItemVectors(nn.Module):
    """Vectors of users, and of items: a row of an item's own plus a linear map of its content.

    Items are numbered from 1, 0 being padding, and users from 0.

    Args:
        users: Number of users.
        content: Content features of items, ``[items + 1, d]``.
        width: Dimension of user and item vectors.
    """

    def __init__(self, users: int, content: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("content", content, persistent=False)
        self.content: Tensor
        self.user = nn.Embedding(users, width)
        self.item = nn.Embedding(len(content), width)
        self.about = nn.Linear(content.shape[1], width, bias=False)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=STD)

    def items(self, ids: Tensor) -> Tensor:
        """Return the vectors ``[..., d]`` of items ``[...]``.

        All item vectors are computed once per call, because a batch has more entries than there are
        items.
        """
        return functional.embedding(ids, self.item.weight + self.about(self.content))


class Ranker(UserItemVectors):
    """Predicts the responses to items that are looked at.

    ``two_tower`` has an inner product for each task. The other kinds are multi-task heads over the
    vectors of user and item and their product; ``mlp`` is a shared bottom, which with one task is a
    plain network. ``transformer`` is the same network, which also reads a vector of the items that
    the user clicked last: it can model satiation, which a table of users and items cannot.

    Args:
        users: Number of users.
        content: Content features of items, ``[items + 1, d]``.
        kind: Architecture, by a name of the description above.
        tasks: Names of the predicted responses.
        settings: Widths of vectors and of hidden layers.
        clicks: Number of last clicks that a transformer reads.
        places: Number of places of a slate.
    """

    def __init__(
        self,
        users: int,
        content: Tensor,
        kind: RankerKind,
        tasks: Sequence[str],
        settings: RankerSettings,
        clicks: int,
        places: int,
    ) -> None:
        width = settings.width
        super().__init__(users, content, width)
        self.tasks = tuple(tasks)
        self.history: nn.Module | None = None
        if kind == "transformer":
            self.history = Backbone(len(content) - 1, _backbone(settings, clicks))
        # A shallow tower of the place (Zhao et al. 2019): a learned shift of the logits, of which
        # training explains by the place what ranking must not.
        self.place = nn.Embedding(places, 1)
        nn.init.zeros_(self.place.weight)
        self.heads: nn.Module | None = None
        if kind == "two_tower":
            self.turn = nn.Linear(width, width * len(tasks), bias=False)
            self.user_bias = nn.Embedding(users, len(tasks))
            self.item_bias = nn.Embedding(len(content), len(tasks))
            for table in (self.user_bias, self.item_bias):
                nn.init.zeros_(table.weight)
        else:
            vectors = 5 if kind == "transformer" else 3
            self.heads = HEADS[kind](tasks, vectors * width, settings.heads)

    @property
    def reads_clicks(self) -> bool:
        """Whether predictions depend on the user's last clicks."""
        return self.history is not None

    def forward(self, users: Tensor, items: Tensor, recent: Tensor) -> dict[str, Tensor]:
        """Return a logit ``[b, k]`` of each task for items that are looked at.

        Args:
            users: User numbers, ``[b]``.
            items: Item numbers, ``[b, k]``.
            recent: Last clicked items, the newest last, ``[b, t]``; 0 where there is none.
        """
        user, item = self.user(users), self.items(items)  # [b, d], [b, k, d]
        if self.heads is None:
            turned = self.turn(user).unflatten(1, (len(self.tasks), -1))  # [b, tasks, d]
            products = torch.einsum("bsd,bkd->bks", turned, item)
            logits = products + self.user_bias(users)[:, None] + self.item_bias(items)
            return dict(zip(self.tasks, logits.unbind(-1), strict=True))
        user = user[:, None].expand_as(item)
        vectors = [user, item, user * item]
        if self.history is not None:
            # Its norm gives the history entries of size one. Added to the user's, which begin at
            # STD, it would hide them.
            history = self.history.last(recent)[:, None].expand_as(item)  # type: ignore[operator]
            vectors += [history, history * item]
        found = self.heads(torch.cat(vectors, -1).flatten(0, 1))  # [b k, 3 d or 5 d]
        return {task: logit.unflatten(0, items.shape) for task, logit in found.items()}

    def shown(self, users: Tensor, items: Tensor, recent: Tensor) -> dict[str, Tensor]:
        """Return the logits for items at the places of a slate, of which not all are looked at.

        Responses that need a click need no place.
        """
        shift = self.place.weight[: items.shape[1], 0]
        logits = self(users, items, recent)
        return {task: logit if task in GIVEN_CLICK else logit + shift
                for task, logit in logits.items()}  # fmt: skip


def _backbone(settings: RankerSettings, clicks: int) -> BackboneSettings:
    return BackboneSettings(
        length=clicks,
        width=settings.width,
        layers=settings.layers,
        heads=settings.attention_heads,
        hidden=4 * settings.width,
        dropout=0.1,
        padding_side="left",
    )


# The probability of a click, then of responses to clicked items; hate needs no click. The single
# task `watched` is watching an impression, clicked or not.
TASKS = ("click", "watch", "like", "hate")
PAIRS_AT_A_TIME = 2**16


def labels_of(batch: ImpressionBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the labels of each task and the mask of its impressions, ``[b, k]`` each."""
    responses = {task: batch.response(task) for task in TASKS}
    clicked = responses["click"] > 0
    everywhere = torch.ones_like(clicked)
    labels = responses | {"watched": responses["watch"]}
    spaces = {"click": everywhere, "watch": clicked, "like": clicked, "hate": everywhere,
              "watched": everywhere}  # fmt: skip
    return labels, spaces


class RankerLoss(nn.Module):
    """The loss of a ranker over shown items; its tasks are the ranker's outputs.

    It is a module because parallel and compiled modules replace ``forward`` alone.
    """

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, batch: ImpressionBatch) -> Mapping[str, Tensor]:
        """Return the mean loss of each task, and ``loss``, their sum."""
        logits = self.ranker.shown(batch.users, batch.items, batch.recent)
        return multitask_loss(logits, *labels_of(batch))


def ranker_task(ranker: Ranker, settings: RankerSettings) -> SupervisedTask:
    """Return the training of a ranker."""
    return task_of(RankerLoss(ranker), settings)


@torch.inference_mode()
def answers(ranker: Ranker, users: Ints, items: Ints, recent: Ints) -> dict[str, Floats]:
    """Return the probabilities of each task, ``[n, k]``; the simulator counts items from 0.

    Args:
        ranker: Ranker in evaluation mode.
        users: User numbers, ``[n]``.
        items: Item numbers, ``[n, k]``.
        recent: Last clicked items, ``[n, t]``.
    """
    device = ranker.content.device
    step = max(1, PAIRS_AT_A_TIME // items.shape[1])
    parts: dict[str, list[Floats]] = {}
    for start in range(0, len(users), step):
        rows = slice(start, start + step)
        given = (torch.from_numpy(part[rows].astype(np.int64)).to(device)
                 for part in (users, items + 1, recent + 1))  # fmt: skip
        for task, logit in ranker(*given).items():
            parts.setdefault(task, []).append(logit.float().sigmoid().cpu().numpy())
    return {task: np.concatenate(found) for task, found in parts.items()}


def pair_tables(ranker: Ranker) -> dict[str, Floats]:
    """Return the probabilities of each task for all users and items, ``[u, i]``."""
    users, items = ranker.user.num_embeddings, ranker.item.num_embeddings - 1
    every = np.broadcast_to(np.arange(items), (users, items))
    return answers(ranker, np.arange(users), every, np.zeros((users, 0), dtype=np.int64))


class Answers:
    """The predictions of a trained ranker, cached as tables if it reads no clicks.

    Args:
        ranker: Ranker in evaluation mode.
    """

    def __init__(self, ranker: Ranker) -> None:
        self.ranker = ranker
        self.tables = None if ranker.reads_clicks else pair_tables(ranker)

    def __call__(self, users: Ints, items: Ints, recent: Ints) -> dict[str, Floats]:
        """Return the probabilities of each task, ``[n, k]``; see :func:`answers`."""
        if self.tables is None:
            return answers(self.ranker, users, items, recent)
        return {task: table[users[:, None], items] for task, table in self.tables.items()}

    def click(self, users: Ints, items: Ints, recent: Ints) -> Floats:
        """Return the click probabilities, ``[n, k]``."""
        return self(users, items, recent)["click"]

    def score(self, value: ValueModel) -> Score:
        """Return the value model's score of candidates."""
        if self.tables is not None:
            return by_table(value(self.tables))

        def score(situation: Situation) -> Floats:
            found: Floats = value(self(situation.users, situation.candidates, situation.recent))
            return found

        return score


Click = Callable[[Ints, Ints, Ints], Floats]  # users, items, recent: click probability, [n, k]
PRIOR = 20.0  # pseudo-impressions at the mean response
ITERATIONS = 200


def item_means(log: Impressions, responses: NDArray[np.generic], items: int) -> Floats:
    """Return the mean response ``[r, k]`` to each item, shrunk toward the mean, ``[items]``."""
    shown = np.bincount(log.items.ravel(), minlength=items)
    summed = np.bincount(log.items.ravel(), responses.ravel(), minlength=items)  # type: ignore[arg-type]
    found: Floats = (summed + PRIOR * responses.mean()) / (shown + PRIOR)  # type: ignore[operator]
    return found


def popularity(log: Impressions, items: int) -> Click:
    """Return the click rate of each item, shrunk toward the mean."""
    chance = item_means(log, log.clicked, items)
    return lambda users, shown_items, recent: chance[shown_items]


def content_regression(log: Impressions, features: Floats) -> Click:
    """Return a logistic regression on an item's content and on its product with recent clicks.

    Args:
        log: Impressions to fit.
        features: Item features of variance one, ``[i, c]``.
    """
    own, taste = features[log.items], _taste(features, log.recent.astype(np.int64))
    read = np.concatenate([own, own * taste[:, None]], axis=2)
    model = LogisticRegression(max_iter=ITERATIONS)
    model.fit(read.reshape(-1, read.shape[-1]), log.clicked.ravel())
    of_item, of_product = np.split(model.coef_[0], 2)

    def click(users: Ints, items: Ints, recent: Ints) -> Floats:
        logits = (of_item + of_product * _taste(features, recent)) @ features.T  # [n, i]
        return sigmoid(np.take_along_axis(logits, items, 1) + model.intercept_[0])

    return click


def _taste(features: Floats, recent: Ints) -> Floats:
    """Return the mean content of the items clicked last, ``[n, c]``."""
    there = recent != NOBODY
    summed = np.einsum("nt,ntc->nc", there, features[recent])
    found: Floats = summed / there.sum(1, keepdims=True).clip(1)
    return found
