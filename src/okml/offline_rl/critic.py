"""The Q-function: an LSTM over the history, with separate item vectors."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.offline_rl.settings import CriticSettings
from okml.seqrec.encoder import Encoder


class LSTMCritic(Encoder):
    """``Q(s, a) = b(s) + W g(s) · u(a) + c(a)`` for the state after each position.

    The state value ``b(s)`` is a separate term, as in dueling networks (Wang et al., 2016). With
    the product alone, a state of high value would scale up the differences between actions, and
    actions that are not logged there would be overestimated most.

    Its ``item_matrix`` holds the action vectors and their biases; so Q of all actions is one
    product, Q of some is a gather, and the mean of Q under a policy needs no table of Q (see
    :mod:`okml.offline_rl.softmax_pass`). It shares no weights with the actor, so that its errors
    do not reach the policy that way.

    Args:
        items: Number of items, numbered from 1.
    """

    def __init__(self, items: int, settings: CriticSettings) -> None:
        super().__init__()
        self.padding_side = "right"
        self.item = nn.Embedding(items + 1, settings.width, padding_idx=0)
        self.lstm = nn.LSTM(settings.width, settings.hidden, batch_first=True)
        self.project = nn.Linear(settings.hidden, settings.width + 1)  # the last one is b(s)
        # Zero action vectors give all actions the same initial value.
        self.action = nn.Parameter(torch.zeros(items + 1, settings.width + 1))
        nn.init.normal_(self.item.weight, std=settings.width**-0.5)
        nn.init.zeros_(self.item.weight[0])

    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return a vector for each position, ``[b, n, k + 2]``; the last component is 1."""
        states: Tensor = self.lstm(self.item(items))[0]  # [b, n, h]
        return functional.pad(self.project(states), (0, 1), value=1.0)

    def item_matrix(self) -> Tensor:
        """Return vectors of actions, ones for the state value, and biases, ``[V + 1, k + 2]``."""
        ones = torch.ones_like(self.action[:, :1])
        return torch.cat([self.action[:, :-1], ones, self.action[:, -1:]], 1)

    def flops(self, length: int) -> int:
        """Return the floating-point operations for one full history."""
        matrices = sum(weight.numel() for weight in self.lstm.parameters() if weight.ndim == 2)
        return 2 * length * (matrices + self.project.weight.numel())


class Critics(nn.Module):
    """Several critics, each with its own weights, that are trained on the same targets."""

    def __init__(self, critics: list[Encoder]) -> None:
        super().__init__()
        self.modules_of_each = nn.ModuleList(critics)

    @property
    def each(self) -> list[Encoder]:
        """The critics."""
        return cast(list[Encoder], list(self.modules_of_each))

    def forward(self, items: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Q of the targets and the vectors of the states.

        Args:
            items: The items of the windows, ``[b, n]``.
            targets: The logged actions, ``[b, n]``, 0 at padding.

        Returns:
            ``[b, n, c]`` and ``[b, n, c, k]`` for ``c`` critics, in float32 also under autocast,
            since an advantage is a small difference of values.
        """
        with torch.autocast(items.device.type, enabled=False):
            vectors = [critic(items) for critic in self.each]
            values = [
                (vector * critic.item_matrix()[targets]).sum(-1)
                for vector, critic in zip(vectors, self.each, strict=True)
            ]
            return torch.stack(values, -1), torch.stack(vectors, 2)

    def action_vectors(self) -> Tensor:
        """Return the vectors of actions without gradient, ``[V + 1, c, k]``."""
        return torch.stack([critic.item_matrix().detach() for critic in self.each], 1)
