"""Pre-training on all events: the next items, the next action, the next genres."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.losses import ItemEmbeddings, ItemLoss
from okml.video_workshop.common.data import ActionSet
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.settings.users import LossWeights
from okml.video_workshop.users.batches import WindowBatch

FURTHER = {2: 2 / 3, 3: 1 / 3}  # weight of the item n steps ahead: 1/2 and 1/4, normalized


class ActionHead(nn.Module):
    """Predicts the action on an exposed item, P(signals | exposed item).

    Args:
        width: Dimension d of both vectors.
        kinds: Actions of the log; if each is one signal, they exclude each other.
    """

    def __init__(self, width: int, kinds: ActionSet) -> None:
        super().__init__()
        self.loss = ActionLoss(kinds)
        self.layers = nn.Sequential(
            nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, len(kinds.signals))
        )
        self.scale = width**0.5  # tokens scale item vectors alike

    def forward(self, hidden: Tensor, item: Tensor) -> Tensor:
        """Return logits ``[..., signals]`` of user and item vectors, ``[..., d]`` each."""
        return self.layers(torch.cat([hidden, item * self.scale], -1))  # type: ignore[no-any-return]


class Pretraining(nn.Module):
    """A user model with the heads of its pre-training.

    ``L = L_item + a L_action + m L_multi + g L_genre``: cross-entropy of the next item over the
    catalog, of the next action given its item, of the items two and three steps ahead (so that
    the vector does not serve the next step alone), and binary cross-entropies of the next item's
    genres. A model that feeds intents forward also has losses of the next action and genres on its
    lower blocks, with the same weights.

    Args:
        model: User model to pre-train.
        item_loss: Loss over the catalog; see ``catalog_loss``.
        genres: Genres of each item, 0 or 1, float ``[V + 1, g]``.
        weights: Weights of the losses; a loss with weight 0 is not computed.
    """

    def __init__(
        self, model: UserModel, item_loss: ItemLoss, genres: Tensor, weights: LossWeights
    ) -> None:
        super().__init__()
        self.model = model
        self.item_loss = item_loss
        self.weights = weights
        width = model.settings.width
        self.action_head = ActionHead(width, model.kinds)
        self.further = nn.ModuleDict({str(n): nn.Linear(width, width) for n in FURTHER})
        self.genre_head = nn.Linear(width, genres.shape[1])
        self.genres: Tensor
        self.register_buffer("genres", genres, persistent=False)
        for parameter in self._without_use():
            parameter.requires_grad_(False)  # DDP expects a gradient of all others

    def forward(self, batch: WindowBatch) -> Mapping[str, Tensor]:
        """Return the losses of a batch by name; ``loss`` is their weighted sum."""
        tokens, scored = self.model.read(
            batch.items, batch.targets, batch.negatives, scores_all=self.item_loss.scores_all
        )
        hidden, intents = self.model.states(batch.items, batch.context, tokens)
        item = self.item_loss(hidden, scored, batch.targets, batch.negatives, batch.count)
        losses = {"item": item}
        weights = self.weights
        total = losses["item"]
        if weights.action:
            logits = self.action_head(hidden, scored[batch.targets])
            losses["action"] = self.action_head.loss(logits, batch.next_actions)
            total = total + weights.action * losses["action"]
        if weights.multi:
            losses["multi"] = self._multi_loss(hidden, scored, batch)
            total = total + weights.multi * losses["multi"]
        if weights.genre:
            losses["genre"] = genre_loss(self.genre_head(hidden), self.genres, batch.targets)
            total = total + weights.genre * losses["genre"]
        if intents is not None and weights.intents:
            losses["intent action"] = self.action_head.loss(intents.action, batch.next_actions)
            losses["intent genre"] = genre_loss(intents.genre, self.genres, batch.targets)
            of_intents = (
                weights.action * losses["intent action"] + weights.genre * losses["intent genre"]
            )
            total = total + weights.intents * of_intents
        return {"loss": total, **losses}

    def _multi_loss(self, hidden: Tensor, scored: ItemEmbeddings, batch: WindowBatch) -> Tensor:
        """Return the cross-entropy of the items two and three steps ahead."""
        losses = [
            FURTHER[int(n)]
            * self.item_loss(
                ahead(hidden[:, : 1 - int(n)]), scored, batch.targets[:, int(n) - 1 :],
                batch.negatives, count,
            )
            for (n, ahead), count in zip(self.further.items(), batch.further, strict=True)
        ]  # fmt: skip
        return torch.stack(losses).sum()

    def _without_use(self) -> list[nn.Parameter]:
        """Return the parameters of heads whose loss has weight 0."""
        heads = (
            (self.weights.action, self.action_head),
            (self.weights.multi, self.further),
            (self.weights.genre, self.genre_head),
        )
        return [part for weight, head in heads if not weight for part in head.parameters()]


class ActionLoss(nn.Module):
    """Cross-entropy over signals if they exclude each other, else binary cross-entropies."""

    def __init__(self, kinds: ActionSet) -> None:
        super().__init__()
        self.exclusive = kinds.exclusive
        self.members: Tensor  # [actions + 1, signals]
        self.register_buffer("members", torch.from_numpy(kinds.members).float(), persistent=False)

    def forward(self, logits: Tensor, actions: Tensor) -> Tensor:
        """Return the mean loss over non-zero actions; binary losses are summed over signals.

        Args:
            logits: Logits of the signals, ``[..., signals]``.
            actions: Action numbers, ``[...]``; 0 where there is none.
        """
        wanted = self.members[actions]  # [..., signals]
        if self.exclusive:
            losses = -(wanted * logits.float().log_softmax(-1)).sum(-1)
        else:
            losses = functional.binary_cross_entropy_with_logits(
                logits.float(), wanted, reduction="none"
            ).sum(-1)
        return mean_over_real(losses, actions)


def genre_loss(logits: Tensor, genres: Tensor, targets: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the genres over non-zero targets.

    Args:
        logits: Logits of the genres, ``[..., g]``.
        genres: Genres of each item, 0 or 1, ``[V + 1, g]``.
        targets: Item numbers of the targets, ``[...]``; 0 where there is none.
    """
    losses = functional.binary_cross_entropy_with_logits(
        logits.float(), genres[targets], reduction="none"
    )
    return mean_over_real(losses.mean(-1), targets)


def mean_over_real(losses: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of ``losses`` ``[...]`` over the non-zero ``targets`` ``[...]``."""
    real = targets != 0
    return (losses * real).sum() / real.sum().clamp_min(1)
