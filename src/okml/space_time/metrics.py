"""How good predicted places and times are; exact definitions, section 3.1 of the paper.

``y`` are true targets and ``p`` predictions, both [n, t] in the units of the data: longitude and
latitude in degrees, in this order, or years.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score
from torch import Tensor

Kind = Literal["space", "time"]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

EARTH_RADIUS_KM = 6_371.0
DEGENERATE = 1e-6  # predictions that spread less than this part of the targets say nothing
PAIRS_AT_A_TIME = 4_000_000


def r2(y: Floats, p: Floats) -> Floats:
    """Return R² of each column, [t]; NaN with fewer than two rows.

    The mean it is compared with is that of the rows given, so a small block of similar entities
    can have a very negative value.
    """
    if len(y) < 2:
        return np.full(y.shape[1], np.nan)
    return np.asarray(r2_score(y, p, multioutput="raw_values"), dtype=np.float64)


def mean_r2(y: Floats, p: Floats) -> float:
    """Return the unweighted mean of the columns' R², the paper's figure for places."""
    return float(r2(y, p).mean())


def spearman(y: Floats, p: Floats) -> Floats:
    """Return Spearman's ρ of each column, [t]; ties share a rank; NaN where a side is constant."""
    return np.array([_rank_correlation(a, b) for a, b in zip(y.T, p.T, strict=True)])


def _rank_correlation(a: Floats, b: Floats) -> float:
    if len(a) < 2 or not np.ptp(a) or not np.ptp(b):
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def mean_spearman(y: Floats, p: Floats) -> float:
    """Return the mean of the columns' Spearman ρ."""
    return float(spearman(y, p).mean())


def mae(y: Floats, p: Floats) -> Floats:
    """Return the mean absolute error of each column in its own unit, [t]."""
    errors = mean_absolute_error(y, p, multioutput="raw_values")
    return np.asarray(errors, dtype=np.float64)


def unit_vectors(places: Floats) -> Floats:
    """Return points on the unit sphere, [n, 3], of (longitude, latitude) in degrees, [n, 2].

    As a target of the probe they have no date line and no poles. A latitude beyond 90° goes on
    over the pole.
    """
    longitude, latitude = np.deg2rad(places).T
    ring = np.cos(latitude)
    return np.stack([ring * np.cos(longitude), ring * np.sin(longitude), np.sin(latitude)], axis=1)


def from_unit_vectors(points: Floats) -> Floats:
    """Return (longitude, latitude) in degrees, [n, 2], of vectors [n, 3] of any length."""
    x, y, z = points.T
    angles = np.stack((np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))), axis=1)
    return np.asarray(np.rad2deg(angles))


def great_circle_km(y: Floats, p: Floats, *, swapped: bool = False) -> Floats:
    """Return the distance of each pair of places along the sphere in km, [n].

    Args:
        y: Longitude and latitude in degrees, [n, 2].
        p: The same.
        swapped: Read longitude as latitude and the reverse, as the authors' code does in every
            spatial distance; only to compare with the paper's Tables 3 and 4.
    """
    chord = np.linalg.norm(_points(y, "space", swapped) - _points(p, "space", swapped), axis=1)
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1.0)))


def _points(values: Floats, kind: Kind, swapped: bool) -> Floats:
    """Return points whose Euclidean distances are in the order of the true ones, [n, 3 or t]."""
    if kind == "time":
        return values
    return unit_vectors(values[:, ::-1] if swapped else values)


def proximity_errors(
    y: Floats,
    p: Floats,
    kind: Kind,
    *,
    evaluated: Mask | None = None,
    candidates: Mask | None = None,
    swapped: bool = False,
    device: torch.device | str = "cpu",
) -> Floats:
    """Return the proximity error of each evaluated entity, 0 to 1; 0.5 is chance.

    It is the share of candidates whose prediction is strictly closer to the entity's true place
    (great circle) or time than its own prediction. Equal predictions are no closer, so a probe
    that says the same for all would be perfect; where predictions do not vary the result is NaN.

    Args:
        y: True targets, [n, t].
        p: Predictions, [n, t].
        kind: ``space`` or ``time``.
        evaluated: Rows to score, [n]; all by default.
        candidates: Rows whose predictions compete, [n]; all by default, as in the paper's
            Tables 3 and 4. Its curves by layer use test rows alone.
        swapped: See :func:`great_circle_km`.
        device: Where to compare; the n² distances are taken a few million at a time.
    """
    scored = np.ones(len(y), bool) if evaluated is None else evaluated
    rivals = p if candidates is None else p[candidates]
    if not len(rivals) or _spread(rivals) < DEGENERATE * _spread(y):
        return np.full(int(scored.sum()), np.nan)
    truth, own, others = (
        torch.from_numpy(np.ascontiguousarray(_points(values, kind, swapped))).to(device)
        for values in (y[scored], p[scored], rivals)
    )
    step = max(1, PAIRS_AT_A_TIME // len(others))
    shares = [
        _share_closer(a, b, others)
        for a, b in zip(torch.split(truth, step), torch.split(own, step), strict=True)
    ]
    return np.asarray(torch.cat(shares).cpu().numpy(), dtype=np.float64)


def _share_closer(truth: Tensor, own: Tensor, others: Tensor) -> Tensor:
    """Compare squared distances [b, c] with the own ones [b, 1].

    Both are sums of the same operations in the same order, coordinate by coordinate, so that an
    equal prediction has an equal distance to the last bit; a matrix product would not keep ties.
    """
    limit = torch.zeros(len(truth), 1, dtype=truth.dtype, device=truth.device)
    distance = torch.zeros(len(truth), len(others), dtype=truth.dtype, device=truth.device)
    for axis in range(truth.shape[1]):
        here = truth[:, axis, None]
        limit += (own[:, axis, None] - here) ** 2
        distance += (others[:, axis] - here) ** 2
    return (distance < limit).double().mean(dim=1)


def _spread(values: Floats) -> float:
    return float(np.sqrt(values.var(axis=0).sum()))


def proximity_error(y: Floats, p: Floats, kind: Kind, **options: Any) -> float:
    """Return the mean of :func:`proximity_errors`, which see; NaN where there is none."""
    errors = proximity_errors(y, p, kind, **options)
    return float(errors.mean()) if len(errors) else float("nan")


@dataclass(frozen=True)
class Scores:
    """Everything reported of one probe on the test rows.

    Attributes:
        r2: Mean R² of the columns.
        spearman: Mean Spearman ρ of the columns.
        proximity: Mean proximity error among the rows given.
        r2_columns: R² of each column.
        spearman_columns: Spearman ρ of each column.
        mae_columns: Mean absolute error of each column, degrees or years.
        mean_km: Mean great-circle error; NaN for times.
        median_km: Median great-circle error; NaN for times.
    """

    r2: float
    spearman: float
    proximity: float
    r2_columns: tuple[float, ...]
    spearman_columns: tuple[float, ...]
    mae_columns: tuple[float, ...]
    mean_km: float
    median_km: float


def score(
    y: Floats,
    p: Floats,
    kind: Kind,
    *,
    swapped: bool = False,
    device: torch.device | str = "cpu",
) -> Scores:
    """Return all metrics of predictions for test rows."""
    columns, ranks = r2(y, p), spearman(y, p)
    km = great_circle_km(y, p, swapped=swapped) if kind == "space" else np.array([np.nan])
    return Scores(
        r2=float(columns.mean()),
        spearman=float(ranks.mean()),
        proximity=proximity_error(y, p, kind, swapped=swapped, device=device),
        r2_columns=tuple(columns.tolist()),
        spearman_columns=tuple(ranks.tolist()),
        mae_columns=tuple(mae(y, p).tolist()),
        mean_km=float(km.mean()),
        median_km=float(np.median(km)),
    )
