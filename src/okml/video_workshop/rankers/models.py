"""Rankers: they map a user, the user's last clicks and items to a logit of each task and item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.backbone import Backbone
from okml.seqrec.settings import BackboneSettings
from okml.video_workshop.rankers.heads import HeadKind, build_heads
from okml.video_workshop.rankers.settings import RankerSettings

STD = 0.05  # standard deviation of the initial user and item vectors

RankerKind = Literal["two_tower", "mlp", "mmoe", "ple", "transformer"]


class Ranker(nn.Module):
    """The base class of rankers.

    Items are numbered from 1, 0 being padding, and users from 0. An item's vector is a row of its
    own plus a linear map of its content.

    Args:
        users: Number of users.
        content: Content features of items, ``[items + 1, d]``.
        width: Dimension of user and item vectors.
    """

    reads_clicks = False  # whether predictions depend on the user's last clicks

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


class PairRanker(Ranker):
    """Multi-task heads over the vectors of user and item and their product.

    Args:
        users: Number of users.
        content: Content features of items, ``[items + 1, d]``.
        kind: Architecture of the heads. With one task, ``shared_bottom`` is a plain network.
    """

    def __init__(
        self,
        users: int,
        content: Tensor,
        tasks: Sequence[str],
        kind: HeadKind,
        settings: RankerSettings,
    ) -> None:
        super().__init__(users, content, settings.width)
        self.heads = build_heads(kind, tasks, 3 * settings.width, settings.heads)

    def forward(self, users: Tensor, items: Tensor, recent: Tensor) -> dict[str, Tensor]:
        """Return a logit ``[b, k]`` of each task.

        Args:
            users: User numbers, ``[b]``.
            items: Item numbers, ``[b, k]``.
            recent: Ignored: this ranker reads no clicks.
        """
        item = self.items(items)  # [b, k, d]
        user = self.user(users)[:, None].expand_as(item)
        logits = self.heads(torch.cat([user, item, user * item], -1).flatten(0, 1))
        return {task: logit.unflatten(0, items.shape) for task, logit in logits.items()}


class DotRanker(Ranker):
    """An inner product for each task: two towers, with a transformer over clicks if ``clicks`` > 0.

    The transformer reads the items that the user clicked last, so it can model satiation, which a
    table of users and items cannot.

    Args:
        users: Number of users.
        content: Content features of items, ``[items + 1, d]``.
        clicks: Number of last clicks that the transformer reads; 0: there is no transformer.
    """

    def __init__(
        self,
        users: int,
        content: Tensor,
        tasks: Sequence[str],
        settings: RankerSettings,
        clicks: int = 0,
    ) -> None:
        width = settings.width
        super().__init__(users, content, width)
        self.tasks = tuple(tasks)
        self.reads_clicks = clicks > 0
        self.history = Backbone(len(content) - 1, _backbone(settings, clicks)) if clicks else None
        self.turn = nn.Linear(width, width * len(tasks), bias=False)
        self.user_bias = nn.Embedding(users, len(tasks))
        self.item_bias = nn.Embedding(len(content), len(tasks))
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, users: Tensor, items: Tensor, recent: Tensor) -> dict[str, Tensor]:
        """Return a logit ``[b, k]`` of each task.

        Args:
            users: User numbers, ``[b]``.
            items: Item numbers, ``[b, k]``.
            recent: Last clicked items, the newest last, ``[b, t]``; 0 where there is none.
        """
        state = self.user(users)  # [b, d]
        if self.history is not None:
            state = state + self.history.last(recent)
        turned = self.turn(state).unflatten(1, (len(self.tasks), -1))  # [b, tasks, d]
        products = torch.einsum("bsd,bkd->bsk", turned, self.items(items))
        biases = self.user_bias(users)[:, None] + self.item_bias(items)  # [b, k, tasks]
        return {
            task: products[:, number] + biases[..., number]
            for number, task in enumerate(self.tasks)
        }


def build_ranker(
    kind: RankerKind,
    users: int,
    content: Tensor,
    tasks: Sequence[str],
    settings: RankerSettings,
    clicks: int,
) -> Ranker:
    """Return a ranker by name; the transformer reads the last ``clicks`` clicks."""
    if kind in ("two_tower", "transformer"):
        return DotRanker(users, content, tasks, settings, clicks if kind == "transformer" else 0)
    heads: HeadKind = "shared_bottom" if kind == "mlp" else kind  # type: ignore[assignment]
    return PairRanker(users, content, tasks, heads, settings)


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
