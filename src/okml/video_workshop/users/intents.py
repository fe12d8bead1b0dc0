"""Predicted intents as inputs of upper blocks: IntentRec (Oh et al. 2024, arXiv:2408.05353).

Lower blocks predict the next action and the next genres; the upper blocks, which
predict the item, read that prediction. The paper's lesson is that a shared encoder with several
heads gains nothing for the next item, and the hierarchy does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from okml.video_workshop.data import ActionSet


class Intents(NamedTuple):
    """The logits of the intents after each event.

    Attributes:
        action: Logits of the next action's signals, ``[b, n, signals]``.
        genre: Logits of the next item's genres, ``[b, n, g]``.
    """

    action: Tensor
    genre: Tensor


class IntentFeed(nn.Module):
    """Predicts intents and embeds the predictions in one vector, section 3 of the paper.

    ``p_m = softmax(W_m h)`` (a sigmoid where several can be true), ``z_m = V_m p_m``,
    ``Z = sum_m softmax(a z)_m z_m``.

    Args:
        width: Dimension d of a user's vector.
        kinds: Actions of the log; if each is one signal, they exclude each other.
        genres: Number of genres.
    """

    def __init__(self, width: int, kinds: ActionSet, genres: int) -> None:
        super().__init__()
        self.exclusive = kinds.exclusive
        self.action = nn.Linear(width, len(kinds.signals))
        self.genre = nn.Linear(width, genres)
        self.of_action = nn.Linear(len(kinds.signals), width, bias=False)
        self.of_genre = nn.Linear(genres, width, bias=False)
        self.attention = nn.Linear(width, 1)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Intents]:
        """Return the intent vector and the predictions of vectors ``[b, n, d]``."""
        found = Intents(self.action(hidden), self.genre(hidden))
        acted = found.action.softmax(-1) if self.exclusive else found.action.sigmoid()
        parts = torch.stack([self.of_action(acted), self.of_genre(found.genre.sigmoid())], -2)
        shares = self.attention(parts).softmax(-2)  # [b, n, 2, 1]
        return (shares * parts).sum(-2), found
