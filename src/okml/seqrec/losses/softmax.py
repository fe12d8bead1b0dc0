"""Cross-entropy over the whole catalog."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from okml.seqrec.losses.base import ItemLoss, wide


class Softmax(ItemLoss):
    """Full softmax cross-entropy, which holds the logits of all targets and items."""

    def total(
        self, hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor | None
    ) -> Tensor:
        """Return the summed loss; see :class:`ItemLoss`."""
        logits = hidden @ items[1:].T  # [r, V]
        return functional.cross_entropy(wide(logits), targets - 1, reduction="sum")
