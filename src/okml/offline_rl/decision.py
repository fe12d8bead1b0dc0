"""A decision transformer over items, Chen et al. (2021): actions conditioned on the return.

Each token includes the return that followed it, as one of a few buckets; a high return is given at
inference. There is no critic and no bootstrapping.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.offline_rl.actor import DistilGPT2Actor
from okml.offline_rl.episodes import TransitionBatch
from okml.offline_rl.settings import ActorSettings
from okml.seqrec.tasks import Objective

BUCKETS = 10


class DecisionTransformer(DistilGPT2Actor):
    """An actor whose tokens also carry the return from their next action on.

    Args:
        returns: The returns of the training log, ``[e]``, whose quantiles bound the buckets.
    """

    def __init__(
        self, items: int, length: int, settings: ActorSettings, returns: NDArray[np.float32]
    ) -> None:
        super().__init__(items, length, settings)
        inner = np.linspace(0, 1, BUCKETS + 1)[1:-1]
        self.borders: Tensor
        self.register_buffer("borders", torch.from_numpy(np.quantile(returns, inner)).float())
        # With zeros, the initial network equals the pre-trained actor.
        self.goal = nn.Embedding(BUCKETS, settings.width)
        nn.init.zeros_(self.goal.weight)

    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return vectors given a return of the highest bucket, ``[b, n, d + 1]``."""
        return self.read(self.item(items) + self.goal.weight[-1])

    def told(self, batch: TransitionBatch) -> Tensor:
        """Return vectors given the logged returns, ``[b, n, d + 1]``."""
        buckets = torch.bucketize(batch.returns, self.borders)
        return self.read(self.item(batch.items) + self.goal(buckets))


class ReturnConditioned(Objective):
    """The loss of the next item given the logged return."""

    def forward(self, batch: TransitionBatch) -> Tensor:
        """Return the mean loss over the targets of a batch, ``[b, n]``, a scalar."""
        assert isinstance(self.encoder, DecisionTransformer)
        hidden = self.encoder.told(batch)
        given = (batch.targets, None, batch.count)
        return self.loss(hidden, self.encoder.item_matrix(), *given)  # type: ignore[no-any-return]
