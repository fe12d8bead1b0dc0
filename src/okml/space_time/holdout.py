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

from okml.errors import ParameterError
from okml.runtime import progress
from okml.space_time.baselines import choose_sparse_lambda, fit_sparse_ridge
from okml.space_time.metrics import (
    Floats,
    Kind,
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
    groups: NDArray[Any] | list[Any], is_test: Mask, count: int, min_rows: int = 20
) -> list[Any]:
    """Return the ``count`` most frequent labels, most frequent first: the blocks of Table 3.

    Labels with fewer than ``min_rows`` rows or without a test row are left out.
    """
    codes, labels = group_codes(groups)
    sizes = np.bincount(codes[codes >= 0], minlength=len(labels))
    tests = np.bincount(codes[(codes >= 0) & is_test], minlength=len(labels))
    order = np.argsort(-sizes, kind="stable")
    return [labels[code] for code in order if sizes[code] >= min_rows and tests[code]][:count]


def minority_types(types: NDArray[Any] | list[Any], is_test: Mask, min_rows: int = 20) -> list[Any]:
    """Return all entity types but the most frequent: the blocks of Table 4.

    Without the majority (populated places, songs) too little would be left to train on.
    """
    return frequent_blocks(types, is_test, len(types), min_rows)[1:]


def paper_labels(
    groups: NDArray[Any] | list[Any],
    is_test: Mask,
    listed: Sequence[Any] | None,
    min_rows: int = 20,
) -> list[Any]:
    """Return those of the labels that the authors' code lists which can be held out, in its order.

    Args:
        groups: Label of each row.
        is_test: The default split, [n].
        listed: Their labels; None: all.
        min_rows: A label with fewer rows says nothing.
    """
    found = frequent_blocks(groups, is_test, len(groups), min_rows)
    return found if listed is None else [label for label in listed if label in found]


def _refits(
    X: Features | sparse.csr_matrix, y: Floats, train: Mask, lam: float | None,
    device: torch.device | None,
) -> Callable[[Mask], Floats]:  # fmt: skip
    """Return a function that fits the probe to some rows, with one λ, and predicts all, [n, t].

    Dense features are summed once, and a refit takes off the moments of the rows that are left
    out. N-grams have too many columns for a Gram matrix: there conjugate gradients begin anew.
    """
    rows = np.flatnonzero(train)
    if sparse.issparse(X):
        thin = sparse.csr_matrix(X)
        chosen = choose_sparse_lambda(thin[rows], y[rows]) if lam is None else lam

        def of_thin(kept: Mask) -> Floats:
            fit = fit_sparse_ridge(thin[kept], y[kept], chosen)
            return np.asarray(fit.predict(thin), dtype=np.float64).reshape(y.shape)

        return of_thin
    features = as_float64(X, device)
    targets = as_float64(y, features.device)
    everything = BlockMoments.of(features, targets)
    penalty = fit_ridge(features[rows], targets[rows]).lam if lam is None else lam

    def of_dense(kept: Mask) -> Floats:
        out = torch.from_numpy(np.flatnonzero(~kept)).to(features.device)
        left = everything - BlockMoments.of(features[out], targets[out], around=everything)
        predicted = left.solve(penalty).predict(features)
        return np.asarray(predicted.cpu().numpy(), dtype=np.float64)

    return of_dense


def hold_out(
    X: Features | sparse.csr_matrix,
    y: Floats,
    is_test: Mask,
    groups: NDArray[Any] | list[Any],
    blocks: Sequence[Any],
    kind: Kind,
    lam: float | None = None,
    device: torch.device | None = None,
    matched: bool = False,
    swapped: bool = False,
) -> pl.DataFrame:
    """Hold out one block after the other and compare with the default split.

    Args:
        X: Features of all rows, preprocessed, [n, d]; dense activations or sparse n-grams.
        y: Targets, [n, t].
        is_test: The default split, [n].
        groups: Label of each row: its country or decade (Table 3), or its kind (Table 4).
            A row without a label is in no block and always trained on.
        blocks: Labels to hold out; see :func:`frequent_blocks` and :func:`minority_types`.
        kind: ``space`` or ``time``.
        lam: λ of all probes, as in the paper; by default the one chosen on the training rows.
        device: The device that solves dense probes.
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
    train = ~is_test
    predicted_from = _refits(X, y, train, lam, device)
    codes, labels = group_codes(groups)
    nominal = predicted_from(train)

    def errors(predicted: Floats, evaluated: Mask, columns: slice = slice(None)) -> Floats:
        return proximity_errors(y[:, columns], predicted[:, columns], kind, evaluated)

    rows = []
    for label in progress(blocks, "hold-outs"):
        block = codes == labels.index(label) if label in labels else np.zeros(len(y), bool)
        tested = block & is_test
        if not tested.any() or not (train & ~block).any():
            raise ParameterError(f"Block {label!r} has no test row, or nothing is left without it.")
        heldout = predicted_from(~block)
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
            without = errors(predicted_from(train & ~block), tested)
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
