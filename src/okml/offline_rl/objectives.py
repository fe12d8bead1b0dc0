"""Supervised objectives that :mod:`okml.seqrec.tasks` does not have."""

from __future__ import annotations

from torch import Tensor

from okml.offline_rl.decision import DecisionTransformer
from okml.offline_rl.episodes import TransitionBatch
from okml.seqrec.batches import CausalBatch
from okml.seqrec.tasks import EveryPosition, Objective

CASER_TARGETS = 3  # T of Caser's authors: the next three items are all positive


class NextFew(Objective):
    """The mean loss of the next few items after each position, Caser's original objective."""

    def forward(self, batch: CausalBatch) -> Tensor:
        """Return the mean loss over targets, up to three for each position."""
        hidden = self.encoder(batch.items, batch.times, batch.padded)  # [b, n, d]
        matrix = self.encoder.item_matrix()
        n = hidden.shape[1]
        total: Tensor = hidden.new_zeros(())
        count = 0
        for ahead in range(min(CASER_TARGETS, n)):
            targets = batch.targets[:, ahead:]
            negatives = batch.negatives
            if negatives is not None and negatives.ndim > 1:
                negatives = negatives[:, ahead:]
            real = int((targets != 0).sum())
            loss = self.loss(hidden[:, : n - ahead], matrix, targets, negatives)
            total, count = total + loss * real, count + real
        return total / max(count, 1)


class ReturnConditioned(Objective):
    """The loss of the next item given the logged return."""

    def forward(self, batch: TransitionBatch) -> Tensor:
        """Return the mean loss over the targets of a batch."""
        assert isinstance(self.encoder, DecisionTransformer)
        hidden = self.encoder.told(batch)
        return self.loss(hidden, self.encoder.item_matrix(), batch.targets)  # type: ignore[no-any-return]


__all__ = ["EveryPosition", "NextFew", "ReturnConditioned"]
