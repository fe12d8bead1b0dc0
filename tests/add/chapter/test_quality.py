import numpy as np
import pytest
import torch
from hypothesis import given, strategies
from scipy.linalg import sqrtm
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from okml.add.frechet import Moments, frechet_distance, moments
from okml.add.quality import (
    nearest,
    overlap,
    radius,
    spread_within_classes,
    two_sample_test,
)
from okml.errors import ParameterError


def test_distance_of_normal_distributions_with_diagonal_covariances():
    a = Moments(torch.tensor([1.0, 2.0]), torch.diag(torch.tensor([2.0, 3.0])))
    b = Moments(torch.tensor([1.0, 0.0]), torch.diag(torch.tensor([1.0, 4.0])))
    # |m|^2 + sum (sd_a - sd_b)^2
    assert frechet_distance(a, b) == pytest.approx(4 + 1 + 1)


def test_distance_against_scipys_matrix_root():
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) for _ in range(2))
    a, b = np.cov(one.T), np.cov(other.T)
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    expected = apart + np.trace(a + b - 2 * sqrtm(a @ b).real)
    found = frechet_distance(*(moments(torch.from_numpy(each)) for each in (one, other)))
    assert found == pytest.approx(expected, rel=1e-6)


@given(strategies.integers(0, 10**6))
def test_distance_is_symmetric_and_zero_to_itself(seed):
    draws = torch.Generator().manual_seed(seed)
    a, b = (moments(torch.randn(30, 4, generator=draws)) for _ in range(2))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6, abs=1e-9)


def test_one_image_has_no_covariance():
    with pytest.raises(ParameterError, match="two images"):
        moments(torch.zeros(1, 3))


def test_overlap_against_scikit_learns_neighbours():
    draws = torch.Generator().manual_seed(0)
    real, made = torch.randn(80, 3, generator=draws), 0.5 * torch.randn(60, 3, generator=draws)
    found = overlap(real, radius(real), made)
    distance = {
        name: NearestNeighbors(n_neighbors=4).fit(points.numpy()).kneighbors()[0][:, 2]
        for name, points in (("real", real), ("made", made))
    }
    between = torch.cdist(real.double(), made.double()).numpy()
    assert found["precision"] == pytest.approx((between <= distance["real"][:, None]).any(0).mean())
    assert found["recall"] == pytest.approx((between <= distance["made"]).any(1).mean())
    assert found["coverage"] == pytest.approx((between <= distance["real"][:, None]).any(1).mean())


def test_overlap_of_a_collapsed_generator():
    real = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    collapsed = real[:1] + 1e-4 * torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    around = radius(real)
    found = overlap(real, around, collapsed)
    assert found["precision"] == 1
    assert found["recall"] < 0.05
    assert overlap(real, around, real)["recall"] == 1


def test_nearest_image_in_root_mean_square_pixels():
    training = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
    distance, row = nearest(torch.full((1, 1, 2, 2), 0.75), training)
    assert float(distance) == pytest.approx(0.25)
    assert int(row) == 1


def test_spread_is_zero_for_class_means_and_the_standard_deviation_otherwise():
    images = torch.tensor([0.0, 2.0, 5.0, 5.0]).reshape(4, 1, 1, 1)
    labels = torch.tensor([0, 0, 1, 1])
    assert float(spread_within_classes(images, labels).mean()) == pytest.approx(2**0.5 / 2)
    assert spread_within_classes(images[2:], labels[2:]).tolist() == [0, 0]


def test_parts_of_the_spread_vary_as_a_jackknife_says():
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(120, 1, 3, 3, generator=draws) * torch.rand(1, 3, 3, generator=draws)
    labels = torch.arange(120) % 2

    def spread(rows):
        members = [images[rows][labels[rows] == label] for label in (0, 1)]
        return np.mean([own.double().std(0).mean() for own in members])

    parts = spread_within_classes(images, labels).numpy()
    assert parts.mean() == pytest.approx(spread(np.arange(120)))
    without = np.array([spread(np.delete(np.arange(120), row)) for row in range(120)])
    jackknife = 119 / 120 * ((without - without.mean()) ** 2).sum()
    assert parts.var(ddof=1) / 120 == pytest.approx(jackknife, rel=0.1)


def test_the_two_sample_test_agrees_with_a_nearest_neighbor_left_out_by_scikit_learn():
    draws = torch.Generator().manual_seed(0)
    samples, real = torch.randn(2, 40, 1, 3, 3, generator=draws)
    samples = samples + 0.5
    rows = torch.cat([samples, real]).flatten(1).numpy()
    kinds = np.repeat([0, 1], 40)
    expected = [
        KNeighborsClassifier(1).fit(np.delete(rows, i, 0), np.delete(kinds, i)).predict(rows[[i]])
        for i in range(80)
    ]
    found = two_sample_test(samples, real)
    np.testing.assert_array_equal(found.numpy(), np.concatenate(expected) == kinds)


def test_the_two_sample_test_tells_all_that_is_apart_half_of_what_is_alike_and_no_copy():
    draws = torch.Generator().manual_seed(0)
    real, alike = torch.randn(2, 1000, 1, 2, 2, generator=draws)
    assert two_sample_test(real + 100, real).mean() == 1
    assert two_sample_test(real, real).mean() == 0
    # Five standard deviations of 2000 answers; those of neighbors depend on each other a little.
    assert two_sample_test(alike, real).mean() == pytest.approx(0.5, abs=5 * 0.5 / 2000**0.5 * 1.5)
    fewer = two_sample_test(alike[:30], real)
    assert len(fewer) == 60
