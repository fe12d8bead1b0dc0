import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from okml.errors import ParameterError
from okml.lightsage.experiments.serving import crowded
from okml.lightsage.serving import FlatIndex, HnswIndex, IvfPqIndex, build_index, index_recall


def unit(n, d=16, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_flat_index_is_exact_and_serves_ads_only():
    vectors = unit(300)
    ads = np.random.default_rng(1).random(300) < 0.4
    items = np.arange(50)
    products = vectors[items] @ vectors.T
    products[:, ~ads] = products[items, items] = -np.inf
    expected = np.argsort(-products, axis=1)[:, :10]
    found, values = build_index(FlatIndex(), vectors, ads).search(vectors[items], items, 10)
    assert (found == expected).all()
    assert np.allclose(values, np.take_along_axis(products, expected, axis=1), atol=1e-5)


def test_approximate_indices_find_most_and_are_of_the_stated_kind():
    vectors = unit(3000)
    items = np.arange(100)
    exact, _ = build_index(FlatIndex(), vectors).search(vectors[items], items, 20)
    hnsw = build_index(HnswIndex(), vectors)
    found, _ = hnsw.search(vectors[items], items, 20)
    assert index_recall(found, exact) > 0.95
    coded = build_index(IvfPqIndex(code_bytes=8), vectors)
    approximate, _ = coded.search(vectors[items], items, 20)
    assert 0.2 < index_recall(approximate, exact) < 1
    assert coded.bytes < hnsw.bytes
    assert (found != items[:, None]).all()


def test_threads_do_not_change_the_graph_of_an_index():
    """A parallel construction may link vectors in the order in which its threads come."""
    vectors = unit(2000)
    built = []
    for threads in (1, 8):
        with threadpool_limits(threads, user_api="openmp"):
            built.append(faiss.serialize_index(build_index(HnswIndex(), vectors).index))
    np.testing.assert_array_equal(*built)


def test_overlap_is_a_share_of_what_is_exact():
    assert index_recall(np.array([[1, 2, 9]]), np.array([[1, 2, 3]])) == pytest.approx(2 / 3)


def test_codes_must_cut_vectors_evenly():
    with pytest.raises(ParameterError, match="16 numbers cannot be cut into 5"):
        build_index(IvfPqIndex(code_bytes=5), unit(100))


def test_an_empty_shop_is_refused():
    with pytest.raises(ParameterError, match="nothing to index"):
        build_index(FlatIndex(), unit(5), np.zeros(5, bool))


def test_a_large_index_has_unit_vectors_around_those_of_the_run():
    vectors = unit(20, 8)
    many = crowded(vectors, 500, seed=0)
    assert many.shape == (500, 8)
    assert np.allclose(np.linalg.norm(many, axis=1), 1, atol=1e-5)
    nearest = (many @ vectors.T).max(1)
    assert nearest.min() > 0.8
    assert nearest.max() < 1 - 1e-6  # none is a copy
