"""GRU4Rec: a recurrent network over the history."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from okml.seqrec.dropout import Dropout
from okml.seqrec.encoder import Encoder
from okml.seqrec.losses.base import wide
from okml.settings import BelowOne, Depth, Settings, Width


class GRU4RecSettings(Settings):
    """The sizes of GRU4Rec. The defaults are those of RecBole 1.2.1."""

    width: Width = 64  # width of item vectors, d
    hidden: Width = 128  # width of the state, h
    layers: Depth = 1
    dropout: BelowOne = 0.3  # dropout of item vectors


class GRU4Rec(Encoder):
    """Item vectors, dropout, GRU, and a projection back to the width of item vectors.

    Hidasi et al. (2016), with the softmax over item vectors that later versions have. The GRU has
    no biases, so padding on the left leaves its state at zero: a short history gives the same
    vector whether it is padded or not.

    Args:
        items: Number of items, numbered from 1.
        settings: The sizes of the network.
    """

    def __init__(self, items: int, settings: GRU4RecSettings) -> None:
        super().__init__()
        self.item = nn.Embedding(items + 1, settings.width, padding_idx=0)
        self.dropout = Dropout(settings.dropout)
        self.gru = nn.GRU(
            settings.width, settings.hidden, settings.layers, bias=False, batch_first=True
        )
        self.output = nn.Linear(settings.hidden, settings.width)
        xavier(self)

    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return a vector for each position, ``[b, n, d]``."""
        states, _ = run_gru(self.gru, self.dropout(self.item(items)))  # [b, n, h]
        return self.output(states)  # type: ignore[no-any-return]

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return the vector after the whole history, ``[b, d]``."""
        _, states = run_gru(self.gru, self.dropout(self.item(items)))  # [layers, b, h]
        return self.output(states[-1])  # type: ignore[no-any-return]

    def item_matrix(self) -> Tensor:
        """Return the item vectors, ``[items + 1, d]``."""
        return self.item.weight

    def flops(self, length: int) -> int:
        """Return the operations of :meth:`last` for one full history."""
        return gru_flops(self.gru, length) + 2 * self.output.weight.numel()


def run_gru(gru: nn.GRU, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return all states ``[b, n, h]`` and the last one of each layer, ``[layers, b, h]``.

    They are computed without autocast, under which cuDNN returns float16 even where the type is
    bfloat16, and the two cannot be joined.
    """
    with torch.autocast(inputs.device.type, enabled=False):
        return gru(wide(inputs))  # type: ignore[no-any-return]


def gru_flops(gru: nn.GRU, length: int) -> int:
    """Return the operations of the matrix products of ``length`` steps, two for a multiply-add."""
    return 2 * length * sum(weight.numel() for weight in gru.parameters() if weight.ndim == 2)


def xavier(module: nn.Module) -> None:
    """Initialize as Glorot and Bengio (2010): item vectors normal, other matrices uniform."""
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            nn.init.zeros_(parameter)
        elif name == "item.weight":
            nn.init.xavier_normal_(parameter)
        else:
            nn.init.xavier_uniform_(parameter)
    for part in module.modules():
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            nn.init.zeros_(part.weight[part.padding_idx])
