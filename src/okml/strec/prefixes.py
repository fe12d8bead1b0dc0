"""The warm start of all arms: a prefix language model of histories.

The arms read a history in both directions and predict one item. Trained alone, that is slow: a pass
teaches one target. A causal network has a target at every position, but its weights are made for
another mask. A prefix language model (Raffel et al., 2020, section 3.2.1) has both: the first items
of a window see each other, as in the arms, and the items after them see the past alone, so that
each of these has a target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from okml.seqrec.backbone import Backbone
from okml.seqrec.batches import Batch, CausalBatch, CausalBatches
from okml.seqrec.interactions import Ints
from okml.seqrec.mixers import Context
from okml.seqrec.tasks import EveryPosition


@dataclass(frozen=True, kw_only=True)
class PrefixContext(Context):
    """The additional input of attention with a prefix that sees itself in both directions.

    Attributes:
        prefix: Bool ``[b, n]``, true at the items of the prefix.
    """

    prefix: Tensor

    def visible(self, causal: bool, n: int, device: torch.device) -> Tensor | None:
        """Return :meth:`Context.visible`, and the prefix for its own items, ``[b, 1, n, n]``."""
        allowed = super().visible(causal, n, device)
        if allowed is None or not causal:
            return allowed
        return allowed | (self.prefix[:, None, :, None] & self.prefix[:, None, None, :])


class PrefixBackbone(Backbone):
    """A causal backbone that reads a part of a history, or all of it, in both directions.

    Its weights have the names and shapes of the arms', and :meth:`last` has their values.
    """

    def after_prefix(self, items: Tensor, times: Tensor | None, prefix: Tensor) -> Tensor:
        """Return a vector for each position, ``[b, n, d]``.

        Args:
            items: The items of the windows, ``[b, n]``, 0 for padding.
            times: The times of the items in seconds, int64 ``[b, n]``.
            prefix: Bool ``[b, n]``, true at the items that see each other.
        """
        tokens, context = self.embed(items, times, padded=True)
        context = PrefixContext(context.padding, context.padding_side, times, prefix=prefix)
        for block in self.blocks:
            tokens = block(tokens, context)
        return self.norm(tokens)  # type: ignore[no-any-return]

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return the vector after the whole history, read in both directions, ``[b, d]``."""
        return self._read_last(self.after_prefix(items, times, items != 0), items)


@dataclass(frozen=True, eq=False)
class PrefixBatch(Batch):
    """Windows of histories, each with a prefix.

    Attributes:
        windows: The windows; a position whose next item is in the prefix has no target.
        prefix: Bool ``[b, n]``, true at the items that see each other.
    """

    windows: CausalBatch
    prefix: Tensor


class PrefixBatches(CausalBatches):
    """A batch source whose examples are windows, each with a prefix that is drawn anew.

    A window of ``s`` items has a prefix of 0 to ``s - 1`` items, all equally likely. Its last item
    sees no later one, so it has a target, too.
    """

    def expected_targets(self) -> float:
        """Return the expected number of targets of an epoch."""
        start, stop = self.windows.bounds(self.interactions, np.arange(len(self)))
        items = stop - 1 - start  # [w], at least 1
        return float((items - (items - 1) * (items - 2) / (2 * items)).sum())

    def batch(self, indices: Ints, rng: np.random.Generator) -> PrefixBatch:  # type: ignore[override]
        """Build the batch of the windows ``indices``, ``[b]``; ``rng`` also draws the prefixes."""
        windows = super().batch(indices, rng)
        share = torch.from_numpy(rng.random((len(indices), 1))).to(windows.items.device)
        real = windows.items != 0  # [b, n]
        number = real.cumsum(1)  # 1 at the oldest item
        length = (share * real.sum(1, keepdim=True)).long()  # [b, 1]
        targets = windows.targets * (number >= length)
        count = int(targets.count_nonzero())
        return PrefixBatch(
            replace(windows, targets=targets, count=count), real & (number <= length)
        )


class AfterPrefix(EveryPosition):
    """The loss of all positions with a target in windows with a prefix."""

    def forward(self, batch: PrefixBatch) -> Tensor:  # type: ignore[override]
        """Return the mean loss over the targets of a batch, a scalar."""
        assert isinstance(self.encoder, PrefixBackbone)
        windows = batch.windows
        hidden = self.encoder.after_prefix(windows.items, windows.times, batch.prefix)  # [b, n, d]
        given = (windows.targets, windows.negatives, windows.count)
        return self.loss(hidden, self.encoder.item_matrix(), *given)  # type: ignore[no-any-return]
