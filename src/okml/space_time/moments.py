"""Sums from which ridge regressions on subsets of rows follow without reading the rows again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from okml.errors import ParameterError
from okml.space_time.ridge_routes import cholesky_of_sum


@dataclass(frozen=True)
class BlockMoments:
    """First and second moments of a set of rows.

    The moments of the rows outside a block are those of all rows minus those of the block, so
    that holding out each of many blocks costs one small factorization a block.

    Attributes:
        n: The number of rows.
        x: Sum of features, [d].
        y: Sum of targets, [t].
        xx: Sum of x xᵀ, [d, d].
        xy: Sum of x yᵀ, [d, t].
    """

    n: int
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor

    @classmethod
    def of(cls, X: Tensor, Y: Tensor) -> BlockMoments:
        """Sum over features [n, d] and targets [n, t], both around means, lest digits cancel."""
        return cls(len(X), X.sum(0), Y.sum(0), X.T @ X, X.T @ Y)

    def __sub__(self, block: BlockMoments) -> BlockMoments:
        """Return the moments of the rows outside a block."""
        return BlockMoments(
            self.n - block.n,
            self.x - block.x,
            self.y - block.y,
            self.xx - block.xx,
            self.xy - block.xy,
        )

    def solve(self, lam: float) -> tuple[Tensor, Tensor]:
        """Fit ridge with an intercept and a given λ on the rows summed here.

        Returns:
            The coefficients, [d, t], and the intercept, [t].

        Raises:
            ParameterError: If fewer than two rows are left.
        """
        if self.n < 2:
            raise ParameterError(f"Ridge needs at least two rows; {self.n} are left.")
        gram = self.xx - torch.outer(self.x, self.x) / self.n
        moment = self.xy - torch.outer(self.x, self.y) / self.n
        coef = torch.cholesky_solve(moment, cholesky_of_sum(gram, lam))
        return coef, (self.y - self.x @ coef) / self.n
