"""Series decomposition: a sequence less its trend, a moving average."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class SeriesDecomposition(nn.Module):
    """Subtracts the moving average over the positions (Wu et al., 2021, equation 1).

    The ends are repeated, so that every average has ``kernel`` terms.

    Args:
        kernel: Number of positions of an average, odd.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[b, n, d]`` to its seasonal part ``[b, n, d]``."""
        around = self.kernel // 2
        wide = functional.pad(x.transpose(1, 2), (around, around), mode="replicate")  # [b, d, n']
        return x - functional.avg_pool1d(wide, self.kernel, stride=1).transpose(1, 2)
