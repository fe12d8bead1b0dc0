"""The places of the true elements of a mask whose number is known, without waiting for a device."""

from __future__ import annotations

import torch
from torch import Tensor


def true_places(mask: Tensor, count: int) -> Tensor:
    """Return the indices of the true elements in ascending order, int64 ``[count]``.

    It is ``mask.nonzero()``, for which the host must wait until a device has counted them.

    Args:
        mask: The mask whose true elements are found, bool, ``[m]``.
        count: The number of true elements.
    """
    # A true element writes its index to its place among them, all others to one more place.
    place = torch.where(mask, mask.cumsum(0) - 1, count)
    indices = torch.arange(len(mask), device=mask.device)
    return indices.new_zeros(count + 1).scatter_(0, place, indices)[:count]
