"""Dropout with a fast random number generation on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 256  # number of values of a random byte


class Dropout(nn.Module):
    """Dropout that uses one random byte for each element on a CPU.

    PyTorch draws a double for each element there, sequentially, which took a third of the step of
    a small SASRec. Here one 64-bit draw decides on eight elements. The probability is rounded to
    a multiple of 1/256, and the scale is that of the rounded one, so the expectation is exact.
    Other devices use PyTorch's own kernel.

    Args:
        p: Probability that an element is zeroed, in ``[0, 1)``.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, any shape; in training with elements zeroed and the others scaled."""
        if not self.training or not self.p:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.p)
        threshold = round(self.p * LEVELS)
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= threshold
        # A product with 0 or the scale, forward and backward: a fill by a mask is not vectorized.
        precise = torch.promote_types(x.dtype, torch.float32)
        factor = kept.to(precise).mul_(LEVELS / (LEVELS - threshold))
        return (x * factor).to(x.dtype)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"
