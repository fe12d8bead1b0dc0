"""Negative sampling for losses that do not score the whole catalog."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.accelerator import require_float64
from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints


class NegativeSampler:
    """Draws items, with replacement, uniformly or by a power of their popularity.

    A draw may equal the target, which sampled losses mask. Draws depend on the given generator
    only, but differ between a CPU and a GPU.

    Args:
        counts: The number of events of each item, ``[V + 1]``; entry 0 (padding) is ignored.
        amount: The number of draws, ``k``.
        alpha: The exponent of popularity: an item's probability is proportional to
            ``counts ** alpha``, so 0 is uniform and 1 is the share of events.
        shared: Whether one set of draws ``[k]`` serves the batch, instead of ``k`` for each target.
        avoid: Events whose items are never drawn for their user, as in the original SASRec.
        avoid_end: One past the last event of each user in ``avoid``, ``[u]``; None for all events.

    Attributes:
        log_q: The log probability of each item, float32 ``[V + 1]``, 0 for padding, which the
            logQ correction of a sampled softmax subtracts.

    Raises:
        ParameterError: If no item can be drawn, at least for one user.
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
        """Return the sorted keys of all (user, item) pairs that must not be drawn."""
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
        """Draw the negative items of a batch.

        Args:
            targets: The target items, ``[b]`` or ``[b, n]``; 0 is no target.
            user: The user of each row, ``[b]``.
            rng: The generator that seeds the draws.

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
            require_float64(device, "Sampled negatives")
            self._cumulative = self._cumulative.to(device)
        uniform = torch.rand(shape, dtype=torch.float64, device=device, generator=generator)
        # Take the first item whose cumulative probability exceeds the draw, never one of weight 0.
        found = torch.searchsorted(self._cumulative, uniform * self._cumulative[-1], right=True)
        return found.clamp_max(len(self._cumulative) - 1) + 1

    def _is_avoided(self, user: Tensor, item: Tensor) -> Tensor:
        assert self._avoided is not None
        if self._avoided.device != item.device:
            self._avoided = self._avoided.to(item.device)
        keys = user * self._stride + item
        place = torch.searchsorted(self._avoided, keys).clamp_max(len(self._avoided) - 1)
        return self._avoided[place] == keys
