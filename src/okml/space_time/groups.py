"""Metrics inside groups: what a probe knows beyond the country or the decade."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from okml.space_time.metrics import Floats, spearman


def group_codes(groups: NDArray[Any] | list[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """Number group labels from 0 in sorted order; a missing one (None, NaN) is -1.

    Returns:
        Codes [n] and the labels that they stand for.
    """
    known = np.array([label is not None and label == label for label in groups], dtype=bool)
    codes = np.full(len(groups), -1, dtype=np.int64)
    present = [label for label, keep in zip(groups, known, strict=True) if keep]
    labels, codes[known] = np.unique(np.array(present), return_inverse=True)
    return codes, labels.tolist()


def group_or_alone(groups: NDArray[Any]) -> NDArray[np.int64]:
    """Return what each entity is sampled with: its group, or itself where it has none, [n].

    Where a split never separates entities of one creator or building, they are not independent.
    """
    codes, labels = group_codes(groups)
    return np.where(codes < 0, len(labels) + np.arange(len(codes)), codes)


def within_group_r2(y: Floats, p: Floats, groups: NDArray[Any] | list[Any]) -> Floats:
    """Return R² of each column after both sides lose their group means, [t].

    What is left is position inside a country, which country labels alone cannot give: they score
    0. Groups of one entity and entities without a group are left out.
    """
    codes, labels = group_codes(groups)
    kept = [np.flatnonzero(codes == code) for code in range(len(labels))]
    kept = [rows for rows in kept if len(rows) > 1]
    if not kept:
        return np.full(y.shape[1], np.nan)
    inside_y = np.concatenate([y[rows] - y[rows].mean(axis=0) for rows in kept])
    inside_p = np.concatenate([p[rows] - p[rows].mean(axis=0) for rows in kept])
    total = np.square(inside_y).sum(axis=0)
    left = np.square(inside_y - inside_p).sum(axis=0)
    return np.where(total > 0, 1 - left / np.where(total > 0, total, 1), np.nan)


def within_group_spearman(
    y: Floats, p: Floats, groups: NDArray[Any] | list[Any], min_size: int = 20
) -> float:
    """Return Spearman's ρ inside groups, averaged over columns and, by size, over groups.

    Groups below ``min_size`` or with constant targets are left out. Constant predictions inside a
    group order nothing and count as 0. NaN where no group is left.
    """
    codes, labels = group_codes(groups)
    values, sizes = [], []
    for code in range(len(labels)):
        rows = codes == code
        if rows.sum() >= min_size and np.ptp(y[rows], axis=0).all():
            values.append(float(np.nan_to_num(spearman(y[rows], p[rows])).mean()))
            sizes.append(int(rows.sum()))
    return float(np.average(values, weights=sizes)) if values else float("nan")
