"""Flat arrays of events on a device, and slices gathered from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.mixers.base import PaddingSide

CPU = torch.device("cpu")


class FlatEvents:
    """Items and times of all events as tensors on one device; 12 bytes an event."""

    def __init__(self, interactions: Interactions, device: torch.device) -> None:
        self.device = device
        # On the CPU these share the memory of the arrays.
        self._items = torch.from_numpy(interactions.items).to(device)
        self._times = torch.from_numpy(interactions.times).to(device)

    def put(self, numbers: NDArray[np.integer[Any]]) -> Tensor:
        """Return ``numbers`` as an int64 tensor on the device."""
        tensor = torch.from_numpy(numbers.astype(np.int64, copy=False))
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    def items(self, places: Tensor) -> Tensor:
        """Return the items of the events with indices ``places``, int64."""
        return self._items[places].long()

    def times(self, places: Tensor) -> Tensor:
        """Return the times of the events with indices ``places``, in seconds, int64."""
        return self._times[places]

    def padded(
        self, start: Ints, stop: Ints, length: int, side: PaddingSide
    ) -> tuple[Tensor, Tensor]:
        """Return the indices of the events of some slices, padded to equal length.

        Args:
            start: Index of the first event of each slice, ``[b]``.
            stop: One past the last index, ``[b]``; at most ``start + length``.
            length: Number of positions, ``n``.
            side: The side of the padding.

        Returns:
            The index of the event at each position, and whether the position is no padding, both
            ``[b, n]``. The index at padding is a valid one, so that gathering stays in bounds.
        """
        steps = torch.arange(length, device=self.device)
        first, end = self.put(start)[:, None], self.put(stop)[:, None]
        places = steps + (end - length if side == "left" else first)  # [b, n]
        real = (places >= first) & (places < end)
        return torch.where(real, places, first), real
