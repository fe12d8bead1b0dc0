"""Hold-outs: does a probe place entities of a country, a century or a kind that it never saw?

The paper's Tables 3 and 4 compare two probes for each block of rows:

* ``nominal``: trained on the default training rows, scored on the block's default test rows;
* ``heldout``: trained on all rows outside the block, scored on the whole block.

They differ in more than the block: in the rows they are scored on and in how many they are
trained on. So a third one differs from ``nominal`` in nothing but the block:

* ``heldout_matched``: trained on the default training rows outside the block, scored on the
  block's default test rows.

In all three the predictions of all rows compete for the proximity error, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from okml.errors import ParameterError
from okml.runtime import progress
from okml.space_time.baselines import choose_sparse_lambda, fit_sparse_ridge
from okml.space_time.batches import Rows
from okml.space_time.entities.base import Kind
from okml.space_time.metrics import (
    Floats,
    Mask,
    group_codes,
    mean_r2,
    mean_spearman,
    proximity_errors,
)
from okml.space_time.moments import BlockMoments
from okml.space_time.ridge import Features, as_float64, fit_ridge

AXES = ("x", "y")


def frequent_blocks(
    groups: NDArray[Any] | list[Any], is_test: Mask, min_rows: int = 20
) -> list[Any]:
    """Return the labels that can be held out, most frequent first: the blocks of Table 3.

    Labels with fewer than ``min_rows`` rows or without a test row are left out.
    """
    codes, labels = group_codes(groups)
    sizes = np.bincount(codes[codes >= 0], minlength=len(labels))
    tests = np.bincount(codes[(codes >= 0) & is_test], minlength=len(labels))
    order = np.argsort(-sizes, kind="stable")
    return [labels[code] for code in order if sizes[code] >= min_rows and tests[code]]


class Refits:
    """The probe of a set, fitted again and again with one λ, each time to some of its rows.

    Dense features are summed once, and a refit takes off the moments of the rows that are left
    out. N-grams have too many columns for a Gram matrix: there conjugate gradients begin anew.

    Args:
        X: Features of all rows, preprocessed, [n, d]; dense activations or sparse n-grams.
        y: Targets, [n, t].
        is_test: The default split, [n].
        lam: λ of all probes, as in the paper; by default the one chosen on the training rows.
        groups: What each row is split with, [n]; n-grams choose λ on groups left out. By default
            each row alone.
        device: The device that solves dense probes.
    """

    def __init__(
        self,
        X: Features | sparse.csr_matrix,
        y: Floats,
        is_test: Mask,
        lam: float | None = None,
        groups: NDArray[np.int64] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.y, self.is_test = y, is_test
        train = np.flatnonzero(~is_test)
        if sparse.issparse(X):
            rows = sparse.csr_matrix(X)
            if lam is None:
                of = np.arange(len(y)) if groups is None else groups
                lam = choose_sparse_lambda(rows[train], y[train], of[train]).lam
            self.predict = _sparse_refits(rows, y, lam)
        else:
            self.predict = _dense_refits(as_float64(X, device), y, train, lam)
        self.nominal = self.predict(~is_test)


def _sparse_refits(X: sparse.csr_matrix, y: Floats, lam: float) -> Callable[[Mask], Floats]:
    """Return a function that fits the probe to some rows and predicts all, [n, t]."""

    def predict(kept: Mask) -> Floats:
        fitted = fit_sparse_ridge(X[kept], y[kept], lam)
        return np.asarray(fitted.predict(X), dtype=np.float64).reshape(y.shape)

    return predict


def _dense_refits(X: Tensor, y: Floats, train: Rows, lam: float | None) -> Callable[[Mask], Floats]:
    """Return a function that fits the probe to some rows and predicts all, [n, t]."""
    targets = as_float64(y, X.device)
    penalty = fit_ridge(X[train], targets[train]).lam if lam is None else lam
    center = targets.mean(0)
    X, targets = X - X.mean(0), targets - center  # sums of uncentered rows would lose digits
    everything = BlockMoments.of(X, targets)

    def predict(kept: Mask) -> Floats:
        out = torch.from_numpy(np.flatnonzero(~kept)).to(X.device)
        coef, intercept = (everything - BlockMoments.of(X[out], targets[out])).solve(penalty)
        return np.asarray((X @ coef + intercept + center).cpu().numpy(), dtype=np.float64)

    return predict


def hold_out(
    probe: Refits,
    groups: NDArray[Any] | list[Any],
    blocks: Sequence[Any],
    kind: Kind,
    *,
    matched: bool = False,
    swapped: bool = False,
) -> pl.DataFrame:
    """Hold out one block after the other and compare with the default split.

    Args:
        probe: The probe of the set.
        groups: Label of each row: its country or decade (Table 3), or its kind (Table 4).
            A row without a label is in no block and always trained on.
        blocks: Labels to hold out; see :func:`frequent_blocks`.
        kind: ``space`` or ``time``.
        matched: Whether the third probe is fitted, too: ``heldout_matched``.
        swapped: Whether places are also scored with longitude taken for latitude, as in the
            authors' code: ``nominal_swapped`` and ``heldout_swapped``.

    Returns:
        One row a block: ``block``, ``rows``, ``test_rows``; proximity errors ``nominal``
        and ``heldout``, and ``heldout_errors``, those of single rows;
        ``nominal_r2``, ``heldout_r2``, ``nominal_spearman``, ``heldout_spearman``; ``cosine`` of
        the true and the predicted displacement of the block's center from the mean of the rows
        trained on, and the ``norm_ratio`` of the predicted to the true one; and these points as
        ``true_x``, ``predicted_x``, ``mean_x`` and, where there are two targets, the same with
        ``y``.

    Raises:
        ParameterError: If a block is empty or has no test row.
    """
    y, is_test, nominal = probe.y, probe.is_test, probe.nominal
    codes, labels = group_codes(groups)

    def errors(predicted: Floats, evaluated: Mask, columns: slice = slice(None)) -> Floats:
        return proximity_errors(y[:, columns], predicted[:, columns], kind, evaluated)

    rows = []
    for label in progress(blocks, "hold-outs"):
        block = codes == labels.index(label) if label in labels else np.zeros(len(y), bool)
        tested, trained = block & is_test, ~block & ~is_test
        if not tested.any() or not trained.any():
            raise ParameterError(f"Block {label!r} has no test row, or nothing is left without it.")
        heldout = probe.predict(~block)
        heldout_errors = errors(heldout, block)
        rows.append(
            {
                "block": str(label),
                "rows": int(block.sum()),
                "test_rows": int(tested.sum()),
                "nominal": float(errors(nominal, tested).mean()),
                "heldout": float(heldout_errors.mean()),
                "heldout_errors": heldout_errors.tolist(),
                "nominal_r2": mean_r2(y[tested], nominal[tested]),
                "heldout_r2": mean_r2(y[block], heldout[block]),
                "nominal_spearman": mean_spearman(y[tested], nominal[tested]),
                "heldout_spearman": mean_spearman(y[block], heldout[block]),
                **displacement(y[block], heldout[block], y[~block]),
            }
        )
        if matched:
            without = errors(probe.predict(trained), tested)
            rows[-1]["heldout_matched"] = float(without.mean())
        if swapped and kind == "space":
            back = slice(None, None, -1)
            rows[-1]["nominal_swapped"] = float(errors(nominal, tested, back).mean())
            rows[-1]["heldout_swapped"] = float(errors(heldout, block, back).mean())
    return pl.DataFrame(rows)


def displacement(y: Floats, p: Floats, trained_on: Floats) -> dict[str, float]:
    """Compare where a held-out block is predicted with where it is, seen from the training mean.

    Figures 11 and 12 of the paper show it; these are the numbers: a cosine of 1 is the right
    direction, a norm ratio below 1 stops short.

    Args:
        y: True targets of the block, [m, t].
        p: The predictions for the block, [m, t].
        trained_on: Targets of the rows trained on, [n, t].

    Returns:
        ``cosine``, ``norm_ratio`` (NaN where a displacement is zero) and the three points.
    """
    mean, true, predicted = trained_on.mean(axis=0), y.mean(axis=0), p.mean(axis=0)
    to_true, to_predicted = true - mean, predicted - mean
    lengths = np.linalg.norm(to_true), np.linalg.norm(to_predicted)
    defined = bool(lengths[0] and lengths[1])
    result = {
        "cosine": float(to_true @ to_predicted / (lengths[0] * lengths[1])) if defined else np.nan,
        "norm_ratio": float(lengths[1] / lengths[0]) if lengths[0] else np.nan,
    }
    for name, point in (("true", true), ("predicted", predicted), ("mean", mean)):
        result |= {f"{name}_{axis}": float(value) for axis, value in zip(AXES, point, strict=False)}
    return result
