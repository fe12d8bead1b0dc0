"""Rankers: from a user, the user's last clicks and items to a logit of each task and item."""

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

STD = 0.05  # of the first vectors of users and items

RankerKind = Literal["two_tower", "mlp", "mmoe", "ple", "transformer"]


class Ranker(nn.Module):
    """What every ranker offers.

    Items are numbered from 1, 0 being padding, and users from 0. An item's vector is a row of its
    own plus a linear map of its content.

    Args:
        users: Number of users.
        content: Of items, ``[items + 1, d]``.
        width: Of vectors.
    """

    reads_clicks = False  # whether an answer changes with the user's last clicks

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

        All vectors are made once a call: a batch asks for far more than there are items.
        """
        return functional.embedding(ids, self.item.weight + self.about(self.content))


class PairRanker(Ranker):
    """Heads over a user, an item and their product; the first layer of a classical ranker.

    Args:
        users: Number of users.
        content: Of items, ``[items + 1, d]``.
        tasks: Their names.
        kind: Of the heads. With one task, ``shared_bottom`` is a plain network.
        settings: Sizes.
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
            users: ``[b]``.
            items: ``[b, k]``.
            recent: Not read.
        """
        item = self.items(items)  # [b, k, d]
        user = self.user(users)[:, None].expand_as(item)
        logits = self.heads(torch.cat([user, item, user * item], -1).flatten(0, 1))
        return {task: logit.unflatten(0, items.shape) for task, logit in logits.items()}


class DotRanker(Ranker):
    """A product of two vectors a task: two towers, and with ``clicks`` a transformer for one.

    The transformer reads the items that the user clicked last. It knows what the user has had
    enough of, which no table of users and items can.

    Args:
        users: Number of users.
        content: Of items, ``[items + 1, d]``.
        tasks: Their names.
        settings: Sizes.
        clicks: Last clicks that the transformer reads; 0: none, so there is no transformer.
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
            users: ``[b]``.
            items: ``[b, k]``.
            recent: Items clicked last, the newest last, 0 where there are none, ``[b, t]``.
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
    """Return a ranker by name; ``clicks`` are the last clicks that the transformer reads."""
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
