"""Caser: convolutions over the last few items."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.dropout import Dropout
from okml.seqrec.encoder import Encoder
from okml.settings import BelowOne, Count, Settings, Width


class CaserSettings(Settings):
    """The sizes of Caser. The defaults are those of the authors' code."""

    width: Width = 50  # width of item vectors, d
    recent: Count = 5  # number of last items in the input, L
    horizontal: Count = 16  # filters of each height from 1 to L
    vertical: Count = 4  # vertical filters
    dropout: BelowOne = 0.5


class Caser(Encoder):
    """Convolutions over the matrix of the last ``L`` items' vectors, ``L`` times ``d``.

    Tang and Wang (2018). Horizontal filters span all of ``d`` and 1 to ``L`` items, with max
    pooling over positions; vertical ones are weighted sums of the ``L`` items; a dense layer with
    ReLU follows both. Items have separate output vectors and biases. The paper's user vector is
    omitted, since an encoder here represents a user by the history.

    Args:
        items: Number of items, numbered from 1.
        settings: The sizes of the network.
    """

    def __init__(self, items: int, settings: CaserSettings) -> None:
        super().__init__()
        d, recent = settings.width, settings.recent
        self.recent = recent
        self.item = nn.Embedding(items + 1, d, padding_idx=0)
        self.horizontal = nn.ModuleList(
            nn.Conv1d(d, settings.horizontal, height) for height in range(1, recent + 1)
        )
        self.vertical = nn.Linear(recent, settings.vertical)
        self.dropout = Dropout(settings.dropout)
        self.dense = nn.Linear(settings.horizontal * recent + settings.vertical * d, d)
        self.output = nn.Embedding(items + 1, d + 1)  # the last column is the bias
        for table in (self.item, self.output):
            nn.init.normal_(table.weight, std=1 / table.embedding_dim)
            nn.init.zeros_(table.weight[0])
        nn.init.zeros_(self.output.weight[:, -1])

    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return a vector for each position, ``[b, n, d + 1]``; the last component is 1."""
        return self._read(functional.pad(items, (self.recent - 1, 0)))

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return the vector after the whole history, ``[b, d + 1]``."""
        newest = items[:, -self.recent :]
        return self._read(functional.pad(newest, (self.recent - newest.shape[1], 0)))[:, 0]

    def _read(self, items: Tensor) -> Tensor:
        """Return a vector for each run of ``L`` in ``[b, L + n - 1]`` items, ``[b, n, d + 1]``."""
        image = self.item(items).transpose(1, 2)  # [b, d, L + n - 1]
        found = []
        for height, conv in enumerate(self.horizontal, 1):
            answers = torch.relu(conv(image))  # [b, filters, L + n - height]
            largest = functional.max_pool1d(answers, self.recent - height + 1, stride=1)
            found.append(largest.transpose(1, 2))  # [b, n, filters]
        windows = image.unfold(2, self.recent, 1)  # [b, d, n, L]
        found.append(self.vertical(windows).permute(0, 2, 3, 1).flatten(2))  # [b, n, filters d]
        dense = torch.relu(self.dense(self.dropout(torch.cat(found, -1))))  # [b, n, d]
        return functional.pad(dense, (0, 1), value=1.0)

    def item_matrix(self) -> Tensor:
        """Return the output vectors and biases of items, ``[items + 1, d + 1]``."""
        return self.output.weight

    def flops(self, length: int) -> int:
        """Return the operations of :meth:`last`, which do not depend on the length."""
        recent = self.recent
        total = 2 * (self.item.embedding_dim * self.vertical.weight.numel())
        total += 2 * self.dense.weight.numel()
        for height in range(1, recent + 1):
            filters = self.horizontal[height - 1].get_parameter("weight")
            total += 2 * (recent - height + 1) * filters.numel()
        return total
