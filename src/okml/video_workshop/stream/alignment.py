"""Turn new item vectors into the coordinates of old ones, for consumers trained on the old."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes
from torch import Tensor

from okml.seqrec.interactions import Ints


def align(new: Tensor, old: Tensor, common: Ints | None = None) -> Tensor:
    """Rotate ``new`` so that the rows that both have come closest to those of ``old``.

    Training again gives the same geometry in other coordinates at best. The orthogonal matrix
    ``R`` that minimizes ``|| new R - old ||`` is found on the common rows (Procrustes: ``U V^T`` of
    the singular value decomposition of ``new^T old``) and turns all of them.

    Args:
        new: ``[k, d]``.
        old: ``[k, d]``.
        common: Numbers of the rows to fit on; None: all.
    """
    rows = slice(None) if common is None else torch.from_numpy(common)
    a, b = (matrix.detach()[rows].double().cpu().numpy() for matrix in (new, old))
    rotation, _ = orthogonal_procrustes(a, b)
    return new @ torch.from_numpy(np.asarray(rotation)).to(new)
