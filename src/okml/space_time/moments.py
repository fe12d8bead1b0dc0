"""Sums from which ridge regressions on subsets of rows follow without reading the rows again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from okml.errors import ParameterError
from okml.space_time.ridge import Features, RidgeFit, as_float64
from okml.space_time.ridge_routes import cholesky_of_sum


@dataclass(frozen=True)
class BlockMoments:
    """First and second moments of a set of rows around a common origin.

    The moments of the rows outside a block are those of all rows minus those of the block, so
    that holding out each of many blocks costs one small factorization a block.

    Attributes:
        origin_x: The origin of the features, [d]; near their mean, lest digits cancel.
        origin_y: The origin of the targets, [t].
        n: The number of rows.
        x: Sum of features, [d].
        y: Sum of targets, [t].
        xx: Sum of x xᵀ, [d, d].
        xy: Sum of x yᵀ, [d, t].
    """

    origin_x: Tensor
    origin_y: Tensor
    n: int
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor

    @classmethod
    def of(cls, X: Features, Y: Features, around: BlockMoments | None = None) -> BlockMoments:
        """Sum over features [n, d] and targets [n, t].

        Args:
            X: The features, [n, d].
            Y: Targets in their own units.
            around: Moments whose origin to share; by default the origin is the mean.
        """
        device = None if around is None else around.x.device
        features = as_float64(X, device)
        targets = as_float64(Y, features.device)
        origin_x = features.mean(0) if around is None else around.origin_x
        origin_y = targets.mean(0) if around is None else around.origin_y
        x, y = features - origin_x, targets - origin_y
        return cls(origin_x, origin_y, len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y)

    def __sub__(self, block: BlockMoments) -> BlockMoments:
        """Return the moments of the rows outside a block."""
        if not (
            torch.equal(self.origin_x, block.origin_x)
            and torch.equal(self.origin_y, block.origin_y)
        ):
            raise ParameterError("Only moments around the same origin can be subtracted.")
        return replace(
            self,
            n=self.n - block.n,
            x=self.x - block.x,
            y=self.y - block.y,
            xx=self.xx - block.xx,
            xy=self.xy - block.xy,
        )

    def solve(self, lam: float) -> RidgeFit:
        """Fit ridge with an intercept and a given λ on the rows summed here.

        Raises:
            ParameterError: If fewer than two rows are left.
        """
        if self.n < 2:
            raise ParameterError(f"Ridge needs at least two rows; {self.n} are left.")
        gram = self.xx - torch.outer(self.x, self.x) / self.n
        moment = self.xy - torch.outer(self.x, self.y) / self.n
        coef = torch.cholesky_solve(moment, cholesky_of_sum(gram, lam))
        mean_target = self.origin_y + self.y / self.n
        intercept = mean_target - (self.origin_x + self.x / self.n) @ coef
        tried = coef.new_tensor([lam])
        return RidgeFit(coef, intercept, lam, tried, torch.full_like(tried, torch.nan), False)
