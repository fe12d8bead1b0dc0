import numpy as np
import pytest
import torch

from okml.errors import ParameterError
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.features import diffused, hop_features
from tests.lightsage.toys import features, graph, random_edges


def test_means_over_neighbors_are_the_matrix_product():
    a, x = graph(), features()
    assert np.allclose(hop_features(x, a).neighborhood, a.csr.toarray() @ x.numpy(), atol=1e-5)


def test_sign_reads_the_powers_of_the_graph():
    a, x = graph(), features()
    dense = a.csr.toarray()
    powers = [x.numpy(), dense @ x.numpy(), dense @ dense @ x.numpy()]
    assert np.allclose(diffused(x, a, 2), np.hstack(powers), atol=1e-5)
    assert diffused(x, a, 0) is x


def test_leaving_an_edge_out_equals_a_graph_without_it():
    x = features()
    item, neighbor, weight = random_edges()
    whole = hop_features(x, Adjacency.from_edges(40, item, neighbor, weight))
    for edge in range(0, len(item), 9):
        kept = np.arange(len(item)) != edge
        rest = Adjacency.from_edges(40, item[kept], neighbor[kept], weight[kept])
        expected = hop_features(x, rest).neighborhood[item[edge]]
        ends = (torch.from_numpy(of[edge : edge + 1]) for of in (item, neighbor))
        _, found = whole.rows_without(*ends)
        assert np.allclose(found[0], expected, atol=1e-4)


def test_leaving_out_what_is_no_neighbor_changes_nothing():
    hops = hop_features(features(), graph())
    ids, other = torch.tensor([0, 39]), torch.tensor([39, 0])
    for a, b in zip(hops.rows(ids), hops.rows_without(ids, other), strict=True):
        assert np.allclose(a, b)


def test_features_of_another_shop_are_refused():
    with pytest.raises(ParameterError, match="39 items"):
        hop_features(features(39), graph(40))
