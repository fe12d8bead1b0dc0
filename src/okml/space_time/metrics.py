"""Metrics of predicted places and times, with the definitions of the paper's section 3.1.

``y`` are true targets and ``p`` predictions, both [n, t] in the units of the data: longitude and
latitude in degrees, in this order, or years.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import KDTree

from okml.space_time.entities.base import Kind

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

EARTH_RADIUS_KM = 6_371.0
TIE = 1e-9  # distances that differ by less than this part of them are equal


def r2(y: Floats, p: Floats) -> Floats:
    """Return R² of each column, [t]; NaN with fewer than two rows.

    The mean it is compared with is that of the rows given, so a small block of similar entities
    can have a very negative value.
    """
    if len(y) < 2:
        return np.full(y.shape[1], np.nan)
    left = ((y - p) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    # Where the truth does not vary, no prediction is better than its mean: 0, or 1 if it is equal.
    constant = np.where(left == 0, 1.0, 0.0)
    return np.where(total == 0, constant, 1 - left / np.where(total == 0, 1.0, total))


def mean_r2(y: Floats, p: Floats) -> float:
    """Return the unweighted mean of the R² of the columns of [n, t], the paper's for places."""
    return float(r2(y, p).mean())


def spearman(y: Floats, p: Floats) -> Floats:
    """Return Spearman's ρ of each column, [t]; ties share a rank; NaN where a side is constant."""
    return np.array([_rank_correlation(a, b) for a, b in zip(y.T, p.T, strict=True)])


def _rank_correlation(a: Floats, b: Floats) -> float:
    if len(a) < 2 or not np.ptp(a) or not np.ptp(b):
        return float("nan")
    ranks = np.column_stack([stats.rankdata(a), stats.rankdata(b)])
    return float(np.corrcoef(ranks, rowvar=False)[0, 1])


def mean_spearman(y: Floats, p: Floats) -> float:
    """Return the mean of Spearman's ρ of the columns of [n, t]."""
    return float(spearman(y, p).mean())


def unit_vectors(places: Floats) -> Floats:
    """Return points on the unit sphere, [n, 3], of (longitude, latitude) in degrees, [n, 2].

    As a target of the probe they have no date line and no poles. A latitude beyond 90° goes on
    over the pole.
    """
    longitude, latitude = np.deg2rad(places).T
    ring = np.cos(latitude)
    return np.stack([ring * np.cos(longitude), ring * np.sin(longitude), np.sin(latitude)], axis=1)


def great_circle_km(y: Floats, p: Floats) -> Floats:
    """Return the distance of each pair of places along the sphere in km, [n].

    Both are longitude and latitude in degrees, [n, 2]. The authors' code takes one for the other.
    """
    chord = np.linalg.norm(unit_vectors(y) - unit_vectors(p), axis=1)
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1.0)))


def proximity_errors(y: Floats, p: Floats, kind: Kind, evaluated: Mask | None = None) -> Floats:
    """Return the proximity error of each evaluated entity, 0 to 1; 0.5 is chance.

    It is the share of predictions that are closer to the entity's true place (great circle) or
    time than its own. Another one that is as far counts as half a closer one: where the paper
    counts it as none, features that say the same of many names seem to know something. All
    predictions compete, as in the paper's Tables 3 and 4; its curves by layer give test rows alone.

    Args:
        y: True targets, [n, t].
        p: Predictions, [n, t].
        kind: ``space`` or ``time``.
        evaluated: Rows to score, [n]; all by default.
    """
    scored = np.ones(len(y), bool) if evaluated is None else evaluated
    # Straight distances of points on the sphere are in the order of those along it.
    truth, predicted = (unit_vectors(at) if kind == "space" else at for at in (y[scored], p))
    own = np.linalg.norm(predicted[scored] - truth, axis=1)
    tree, threads = KDTree(predicted), torch.get_num_threads()

    def within(radius: Floats) -> NDArray[np.int64]:
        found = tree.query_ball_point(truth, radius, return_length=True, workers=threads)
        return np.asarray(found)

    farther = within(own * (1 + TIE))  # as far or closer; among them the own one
    closer = np.where(own > 0, within(own * (1 - TIE)), 0)
    return np.asarray((closer + farther - 1) / 2 / len(p))


def score(y: Floats, p: Floats, kind: Kind) -> dict[str, float]:
    """Return what is reported of predictions for test rows.

    Returns:
        ``r2`` and ``spearman``, means of the columns; ``proximity``, the mean error among the rows
        given; and ``median_km``, the median great-circle error, NaN for times.
    """
    km = great_circle_km(y, p) if kind == "space" else np.array([np.nan])
    return {
        "r2": mean_r2(y, p),
        "spearman": mean_spearman(y, p),
        "proximity": float(proximity_errors(y, p, kind).mean()),
        "median_km": float(np.median(km)),
    }


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
