"""Axes that a seed draws: what they span, and what they do not depend on."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import ortho_group

from okml.seqrec.axes import leading_axes

# Groups of equal values, as texts that share one word each have; eight axes cut through the second.
LENGTHS = np.array([2.0] * 5 + [1.0] * 10 + [0.1] * 5)
ROWS, COLUMNS, WIDTH = len(LENGTHS), 40, 8


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    left, right = (ortho_group.rvs(n, random_state=rng)[:, :ROWS] for n in (ROWS, COLUMNS))
    return (left * LENGTHS) @ right.T


def test_axes_are_orthonormal_and_rows_are_longest_on_them(rows):
    axes = leading_axes(rows, WIDTH, 0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(WIDTH), atol=1e-12)
    # No eight axes hold more than the eight largest singular values.
    assert np.square(rows @ axes).sum() == pytest.approx(np.square(LENGTHS[:WIDTH]).sum())


@pytest.mark.parametrize("width", [WIDTH, ROWS])
def test_other_axes_of_the_space_change_nothing(rows, width):
    """An exact SVD fails here: it takes the axes of equal values from the axes that it is given."""
    turned = rows @ ortho_group.rvs(COLUMNS, random_state=1)
    found, again = (given @ leading_axes(given, width, 0) for given in (rows, turned))
    np.testing.assert_allclose(again, found, atol=1e-9)
    exact, other = ((u * s)[:, :width] for u, s, _ in map(np.linalg.svd, (rows, turned)))
    assert np.abs(np.abs(other) - np.abs(exact)).max() > 0.1


def test_the_seed_draws_the_axes_and_leaves_the_geometry(rows):
    first, second = (rows @ leading_axes(rows, ROWS, seed) for seed in (0, 1))
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose(first @ first.T, second @ second.T, atol=1e-12)


def test_rows_that_span_less_have_fewer_axes(rows):
    twice = np.concatenate([rows[:3], rows[:3]])
    axes = leading_axes(twice, WIDTH, 0)
    assert axes.shape == (COLUMNS, 3)
    np.testing.assert_allclose(twice @ axes @ axes.T, twice, atol=1e-12)


def test_sparse_rows_have_the_axes_of_dense_ones(rows):
    few = np.where(np.abs(rows) > 0.2, rows, 0)
    found = leading_axes(sparse.csr_array(few), WIDTH, 3)
    np.testing.assert_allclose(found, leading_axes(few, WIDTH, 3), atol=1e-9)
