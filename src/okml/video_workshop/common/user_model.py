"""Predicted intents as inputs of upper blocks: IntentRec (Oh et al. 2024, arXiv:2408.05353).

Lower blocks predict the next action and the next genres; the upper blocks, which
predict the item, read that prediction. The paper's lesson is that a shared encoder with several
heads gains nothing for the next item, and the hierarchy does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.errors import ParameterError
from okml.seqrec.backbone import initialize
from okml.seqrec.batches import Batch
from okml.seqrec.block import Block
from okml.seqrec.dropout import Dropout
from okml.seqrec.encoder import Encoder, read_last
from okml.seqrec.losses import ItemEmbeddings
from okml.seqrec.mixers import Context, Shape
from okml.video_workshop.common.data import STARS, ActionSet
from okml.video_workshop.common.table import ItemTable
from okml.video_workshop.settings.users import UserModelSettings


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


HOURS = 24

# Upper ends, in seconds, of the buckets of the gap between two events of a user: 0, a minute, ten
# minutes, an hour, a day, a week; the last bucket is open.
GAP_ENDS = (0, 60, 600, 3_600, 86_400, 7 * 86_400)
STD = 0.02  # standard deviation of all initial weights


@dataclass(frozen=True, eq=False)
class EventContext(Batch):
    """The features of a history's events besides their items.

    Actions are known after an event. Gap and hour belong to the *next* request, which is answered
    after the event: they are known when the prediction is made, and do not reveal its target.

    Attributes:
        actions: Action numbers from 1, ``[b, n]``; 0 where there is no event.
        gaps: Bucket of the time from an event to the next request, ``[b, n]``.
        hours: Hour of the day (UTC) of the next request, ``[b, n]``.
    """

    actions: Tensor
    gaps: Tensor
    hours: Tensor


class States(NamedTuple):
    """The outputs of a user model.

    Attributes:
        after: Vectors after each event, ``[b, n, d]``.
        intents: Intents of the next event that the lower blocks predict, if they are fed forward.
    """

    after: Tensor
    intents: Intents | None


class UserModel(Encoder):
    """Maps a history to a vector after each event.

    A token is ``sqrt(d) e_item + action + gap + hour + position``. Without a context the model is a
    causal transformer over items.

    Args:
        table: Item vectors, tied for input and output.
        kinds: Actions of the log; the vector of an action is the sum of its signals' vectors.
        genres: Number of genres, used only if intents are fed forward.

    Raises:
        ParameterError: If the table is not as wide as the model.
    """

    padding_side = "right"

    def __init__(
        self,
        table: ItemTable,
        settings: UserModelSettings,
        kinds: ActionSet = STARS,
        genres: int = 0,
    ) -> None:
        super().__init__()
        if table.width != settings.width:
            raise ParameterError(
                f"Item vectors of width {table.width} do not fit a model of width {settings.width}."
            )
        self.settings = settings
        self.kinds = kinds
        width, backbone = settings.width, settings.backbone
        self.position = nn.Embedding(settings.length, width)
        self.signal = nn.Embedding(len(kinds.signals), width) if settings.actions else None
        self.members: Tensor  # [actions + 1, signals]
        self.register_buffer("members", torch.from_numpy(kinds.members).float(), persistent=False)
        self.gap = nn.Embedding(len(GAP_ENDS) + 1, width) if settings.requests else None
        self.hour = nn.Embedding(HOURS, width) if settings.requests else None
        self.dropout = Dropout(settings.dropout)
        shape = Shape(backbone.length, width, settings.heads, causal=True)
        self.layers = nn.ModuleList(Block(backbone, shape) for _ in range(settings.layers))
        self.intents = IntentFeed(width, kinds, genres) if settings.intents else None
        self.norm = nn.LayerNorm(width, eps=backbone.norm_epsilon)
        initialize(self, STD)
        self.table = table  # set last, since a table initializes itself

    def forward(
        self,
        items: Tensor,
        times: Tensor | None = None,
        padded: bool = True,
        context: EventContext | None = None,
        vectors: ItemEmbeddings | None = None,
    ) -> Tensor:
        """Return a vector after each event, ``[b, n, d]``, which depends on no later event.

        Args:
            items: Item numbers, ``[b, n]``, 0 on the right where there is none.
            times: Ignored: the context has the times that a token may contain.
            padded: Ignored: under a causal mask, padding on the right needs no mask.
            context: Context of the events; None: tokens of items alone.
            vectors: Vectors of the items, from :meth:`read`; None: they are looked up.

        Raises:
            ParameterError: If the history is too long.
        """
        return self.states(items, context, vectors).after

    def states(
        self,
        items: Tensor,
        context: EventContext | None = None,
        vectors: ItemEmbeddings | None = None,
    ) -> States:
        """Return the outputs after each event; arguments are those of :meth:`forward`."""
        hidden, intents = self._below_last(self._tokens(items, context, vectors))
        return States(self.norm(self.layers[-1](hidden, Context())), intents)

    def last(
        self,
        items: Tensor,
        times: Tensor | None = None,
        padded: bool = True,
        context: EventContext | None = None,
    ) -> Tensor:
        """Return the vector after the whole history, ``[b, d]``; see :meth:`forward`.

        The last block computes only this output.
        """
        hidden, _ = self._below_last(self._tokens(items, context))
        query = read_last(hidden, items, self.padding_side)[:, None]  # [b, 1, d]
        # The explicit query attends to every token, so padding must be masked.
        seen = Context(items == 0 if padded else None, self.padding_side)
        return self.norm(self.layers[-1](hidden, seen, query))[:, 0]  # type: ignore[no-any-return]

    def read(
        self, *ids: Tensor | None, scores_all: bool = False
    ) -> tuple[ItemEmbeddings, ItemEmbeddings]:
        """Return the item vectors of a training step: those of its tokens, and those it scores.

        Args:
            ids: Items of the step, any shapes: of tokens, targets and negatives.
            scores_all: Whether the loss scores all items and not ``ids`` alone.
        """
        if self.training:
            self.table.redraw()
        if scores_all:
            return self.table, self.item_matrix()
        read = self.table.read(*(part for part in ids if part is not None))
        return read, read

    def item_matrix(self) -> Tensor:
        """Return the item vectors, ``[items + 1, d]``."""
        return self.table()  # type: ignore[no-any-return]

    def item_vectors(self, ids: Tensor) -> Tensor:
        """Return the vectors of the items ``ids`` ``[...]``, ``[..., d]``."""
        return self.table.lookup(ids)

    def flops(self, length: int) -> int:
        """Return the FLOPs of one history of ``length`` events, two per multiply-add."""
        return sum(cast(Block, block).flops(length, length) for block in self.layers)

    def _below_last(self, hidden: Tensor) -> tuple[Tensor, Intents | None]:
        """Return the input of the last block, and the intents that were fed forward."""
        middle, intents = len(self.layers) // 2, None
        for number, block in enumerate(self.layers):
            if self.intents is not None and number == middle:
                fed, intents = self.intents(hidden)
                hidden = hidden + fed
            if number < len(self.layers) - 1:
                hidden = block(hidden, Context())
        return hidden, intents

    def _tokens(
        self, items: Tensor, context: EventContext | None, vectors: ItemEmbeddings | None = None
    ) -> Tensor:
        """Return the tokens, ``[b, n, d]``."""
        settings, n = self.settings, items.shape[1]
        if n > settings.length:
            raise ParameterError(
                f"A history of {n} events does not fit a model of length {settings.length}."
            )
        places = self.position(torch.arange(n, device=items.device))  # [n, d]
        found = (self.table if vectors is None else vectors)[items]  # [b, n, d]
        item = found * settings.width**0.5 + places
        if context is None:
            return self.dropout(item)  # type: ignore[no-any-return]
        after = torch.zeros_like(item)
        if self.signal is not None:
            of_actions = self.members @ self.signal.weight  # [actions + 1, d]
            after = after + functional.embedding(context.actions, of_actions)
        if self.gap is not None and self.hour is not None:
            after = after + self.gap(context.gaps) + self.hour(context.hours)
        return self.dropout(item + after)  # type: ignore[no-any-return]
