"""Items that did not follow: drawn for losses that do not look at the whole catalog."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints


class NegativeSampler:
    """Draws items, with replacement, uniformly or by a power of their popularity.

    A draw may hit the target itself; sampled losses mask that. Draws depend on the given
    generator only, but not in the same way on a CPU and on a GPU.

    Args:
        counts: Events of each item, ``[V + 1]``; entry 0 is padding and not looked at.
        amount: Number of draws, ``k``.
        alpha: An item is drawn with a probability that goes as ``counts ** alpha``: 0 is uniform
            over the catalog, 1 is the share of events.
        shared: One set of draws for the batch, ``[k]``, instead of ``k`` for each target.
        avoid: Never draw an item that the user has in these events, as the original SASRec does.
        avoid_end: One past the last event of each user that ``avoid`` looks at, ``[u]``.

    Attributes:
        log_q: Log probability of each item, float32 ``[V + 1]``, 0 for padding: what a sampled
            softmax subtracts from logits.

    Raises:
        ParameterError: If there is nothing to draw, for anyone.
    """

    def __init__(
        self,
        counts: NDArray[Any],
        amount: int,
        *,
        alpha: float = 0.0,
        shared: bool = False,
        avoid: Interactions | None = None,
        avoid_end: Ints | None = None,
    ) -> None:
        if amount < 1 or alpha < 0 or not len(counts) > 1 or (shared and avoid is not None):
            raise ParameterError(
                "Draws, items and the power of popularity must be positive, and draws that a "
                "batch shares cannot avoid the items of one user."
            )
        weights = np.power(counts[1:].astype(np.float64), alpha)  # 0 ** 0 is 1
        if not weights.sum() > 0:
            raise ParameterError("No item has an event, so popularity gives nothing to draw.")
        self.amount = amount
        self.shared = shared
        self._cumulative = torch.from_numpy(np.cumsum(weights / weights.sum()))
        with np.errstate(divide="ignore"):
            log_q = np.log(weights / weights.sum())
        self.log_q = torch.from_numpy(np.concatenate([[0.0], log_q])).float()
        self._stride = len(counts)
        self._avoided = None
        if avoid is not None:
            self._avoided = self._keys_of(avoid, avoid_end, weights > 0)

    def _keys_of(
        self, avoid: Interactions, end: Ints | None, drawable: NDArray[np.bool_]
    ) -> Tensor:
        """Return the sorted keys of all pairs of a user and an item that must not be drawn."""
        end = avoid.offsets[1:] if end is None else end
        user = avoid.users()
        seen = np.arange(len(avoid)) < end[user]
        keys = np.unique(user[seen].astype(np.int64) * self._stride + avoid.items[seen])
        owner, item = np.divmod(keys, self._stride)
        most = np.bincount(owner[drawable[item - 1]], minlength=1).max()
        if most >= drawable.sum():
            raise ParameterError("A user has had every item, so no negative is left to draw.")
        return torch.from_numpy(keys)

    def for_targets(self, targets: Tensor, user: Tensor, rng: np.random.Generator) -> Tensor:
        """Draw for a batch.

        Args:
            targets: ``[b]`` or ``[b, n]``; 0 is no target.
            user: ``[b]``.
            rng: Seeds the draws.

        Returns:
            ``[k]`` if shared, else the shape of ``targets`` with ``k`` appended, 0 where there is
            no target.
        """
        generator = torch.Generator(targets.device).manual_seed(int(rng.integers(2**62)))
        if self.shared:
            return self._draw((self.amount,), generator)
        drawn = self._draw((*targets.shape, self.amount), generator)
        if self._avoided is not None:
            owner = user.view(-1, *[1] * (drawn.ndim - 1)).expand_as(drawn)
            while (bad := self._is_avoided(owner, drawn)).any():
                drawn[bad] = self._draw((int(bad.sum()),), generator)
        return drawn * (targets != 0)[..., None]

    def _draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        device = generator.device
        if self._cumulative.device != device:
            self._cumulative = self._cumulative.to(device)
        uniform = torch.rand(shape, dtype=torch.float64, device=device, generator=generator)
        # The first item whose cumulative probability exceeds the draw: never one of weight 0.
        found = torch.searchsorted(self._cumulative, uniform * self._cumulative[-1], right=True)
        return found.clamp_max(len(self._cumulative) - 1) + 1

    def _is_avoided(self, user: Tensor, item: Tensor) -> Tensor:
        assert self._avoided is not None
        if self._avoided.device != item.device:
            self._avoided = self._avoided.to(item.device)
        keys = user * self._stride + item
        place = torch.searchsorted(self._avoided, keys).clamp_max(len(self._avoided) - 1)
        return self._avoided[place] == keys
