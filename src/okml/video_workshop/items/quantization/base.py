"""The interface of residual quantizers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from okml.errors import ParameterError

Codes = Tensor  # int64 [N, L], each from 0 to K - 1
CHUNK = 2**24  # distances held at once


class ResidualQuantizer(nn.Module, ABC):
    """Maps vectors to tuples of codes and back; level ``l`` quantizes the residual of earlier ones.

    ``r_0 = z``, ``c_l = argmin_k |r_l - C_l[k]|^2``, ``r_{l+1} = r_l - C_l[c_l]`` (TIGER,
    arXiv 2305.05065, section 3.1). Each level has a codebook of its own, as residuals shrink.

    Args:
        levels: Number of levels L.
        codes: Number of codes K of a level.
        width: Dimension d of the quantized vectors.
    """

    codebooks: Tensor  # [L, K, d]

    def __init__(self, levels: int, codes: int, width: int) -> None:
        super().__init__()
        if levels < 1 or codes < 2 or width < 1:
            raise ParameterError(f"{levels} levels of {codes} codes cannot quantize vectors.")
        self.levels = levels
        self.codes = codes
        self.width = width

    @abstractmethod
    def encode(self, x: Tensor) -> Codes:
        """Return the codes ``[N, L]`` of any vectors ``[N, f]``, also of ones outside the fit."""

    @abstractmethod
    def decode(self, codes: Codes) -> Tensor:
        """Return the vectors ``[N, f]`` of codes ``[N, l]``; ``l < L`` takes the first levels."""

    def assign(self, z: Tensor) -> tuple[Codes, Tensor]:
        """Return the codes ``[N, L]`` and the residuals before each level and after the last.

        Args:
            z: Vectors in the space of the codebooks, ``[N, d]``.

        Returns:
            Codes, and residuals ``[L + 1, N, d]``.
        """
        residual, codes, residuals = z, [], [z]
        for book in self.codebooks:  # [K, d]
            code = nearest(residual, book)
            residual = residual - book[code]
            codes.append(code)
            residuals.append(residual)
        return torch.stack(codes, 1), torch.stack(residuals)

    def sum_of_codes(self, codes: Codes) -> Tensor:
        """Return the sums of code vectors, ``[N, d]``, of codes ``[N, l]``."""
        levels = torch.arange(codes.shape[1], device=codes.device)
        return self.codebooks[levels, codes].sum(1)  # [N, l, d] summed


def nearest(x: Tensor, centers: Tensor) -> Tensor:
    """Return the number of the nearest center of each vector, ``[N]``; the first of equal ones.

    Args:
        x: Vectors, ``[N, d]``.
        centers: Cluster centers, ``[K, d]``.
    """
    # |x - c|^2 without |x|^2, which all centers of a vector share.
    norms = centers.square().sum(1)
    height = max(1, CHUNK // len(centers))
    parts = torch.split(x, height)
    found = [torch.addmm(norms, part, centers.T, alpha=-2).argmin(1) for part in parts]
    return torch.cat(found)
