"""Flat events on a device, and the gathering of slices of them."""

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
        """Return the items of the events ``places``, int64."""
        return self._items[places].long()

    def times(self, places: Tensor) -> Tensor:
        """Return the seconds of the events ``places``, int64."""
        return self._times[places]

    def padded(
        self, start: Ints, stop: Ints, length: int, side: PaddingSide
    ) -> tuple[Tensor, Tensor]:
        """Return where the events of some slices go in a rectangle.

        Args:
            start: First event of each slice, ``[b]``.
            stop: One past the last, ``[b]``; no more than ``length`` later.
            length: Of the rectangle, ``n``.
            side: Where the padding is.

        Returns:
            The event at each position and whether there is one, both ``[b, n]``. Where there is
            none, the event is some other one, so that gathering stays in bounds.
        """
        steps = torch.arange(length, device=self.device)
        first, end = self.put(start)[:, None], self.put(stop)[:, None]
        places = steps + (end - length if side == "left" else first)  # [b, n]
        real = (places >= first) & (places < end)
        return torch.where(real, places, first), real
