"""NARM: a recurrent network with attention over its states."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from okml.seqrec.dropout import Dropout
from okml.seqrec.encoder import Encoder
from okml.seqrec.models.gru4rec import gru_flops, run_gru, xavier
from okml.settings import BelowOne, Settings, Width


class NARMSettings(Settings):
    """The sizes of NARM. The defaults are those of RecBole 1.2.1."""

    width: Width = 64  # width of item vectors, d
    hidden: Width = 128  # width of the state, h
    dropout: BelowOne = 0.25  # dropout of item vectors
    summary_dropout: BelowOne = 0.5  # dropout of the read-out


class NARM(Encoder):
    """The last state of a GRU (global encoder) and an attention over all states (local encoder).

    Li et al. (2017). The weight of state ``h_j`` at step ``t`` is ``v · sigmoid(A1 h_t + A2 h_j)``,
    which is not normalized. The GRU has no biases, so states of padding on the left are zero and
    do not contribute.

    Args:
        items: Number of items, numbered from 1.
        settings: The sizes of the network.
    """

    def __init__(self, items: int, settings: NARMSettings) -> None:
        super().__init__()
        hidden = settings.hidden
        self.item = nn.Embedding(items + 1, settings.width, padding_idx=0)
        self.dropout = Dropout(settings.dropout)
        self.gru = nn.GRU(settings.width, hidden, bias=False, batch_first=True)
        self.of_query = nn.Linear(hidden, hidden, bias=False)  # A1
        self.of_state = nn.Linear(hidden, hidden, bias=False)  # A2
        self.energy = nn.Linear(hidden, 1, bias=False)  # v
        self.summary_dropout = Dropout(settings.summary_dropout)
        self.output = nn.Linear(2 * hidden, settings.width, bias=False)
        xavier(self)

    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return a vector for each position, ``[b, n, d]``; the memory is ``[b, n, n, h]``."""
        states, _ = run_gru(self.gru, self.dropout(self.item(items)))  # [b, n, h]
        return self._read(states, states)

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return the vector after the whole history, ``[b, d]``."""
        states, _ = run_gru(self.gru, self.dropout(self.item(items)))
        return self._read(states[:, -1:], states)[:, 0]

    def _read(self, queries: Tensor, states: Tensor) -> Tensor:
        """Return the outputs of ``queries``, the newest ``q`` of ``states`` ``[b, n, h]``."""
        pairs = self.of_query(queries)[:, :, None] + self.of_state(states)[:, None]  # [b, q, n, h]
        weights = self.energy(torch.sigmoid(pairs))[..., 0]  # [b, q, n]
        # The last query sees all states, the one before all but one, and so on.
        weights = weights.tril(states.shape[1] - queries.shape[1])
        summary = torch.cat([weights @ states, queries], -1)  # [b, q, 2h]
        return self.output(self.summary_dropout(summary))  # type: ignore[no-any-return]

    def item_matrix(self) -> Tensor:
        """Return the item vectors, ``[items + 1, d]``."""
        return self.item.weight

    def flops(self, length: int) -> int:
        """Return the operations of :meth:`last` for one full history."""
        hidden = self.gru.hidden_size
        attention = 2 * (length + 1) * hidden**2 + 4 * length * hidden
        return gru_flops(self.gru, length) + attention + 2 * self.output.weight.numel()
