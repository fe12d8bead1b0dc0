"""Distilling: a layer between two blocks that halves the number of tokens."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Distilling(nn.Module):
    """Convolution, batch norm, ELU and max pooling with stride 2 (Zhou et al., 2021, equation 5).

    The convolution is circular, as in the authors' code.

    Args:
        width: The width of a token, ``d``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm1d(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ``[b, n, d]`` to ``[b, floor((n - 1) / 2) + 1, d]``."""
        x = functional.elu(self.norm(self.convolution(tokens.transpose(1, 2))))  # [b, d, n]
        return functional.max_pool1d(x, 3, stride=2, padding=1).transpose(1, 2)

    def flops(self, tokens: int) -> int:
        """Return the operations of the convolution for one sequence, two for a multiply-add."""
        return 2 * tokens * self.convolution.weight.numel()


def distilled_lengths(length: int, layers: int) -> list[int]:
    """Return the number of tokens of each block, with distilling between consecutive blocks."""
    lengths = [length]
    while len(lengths) < layers:
        lengths.append((lengths[-1] - 1) // 2 + 1)
    return lengths
