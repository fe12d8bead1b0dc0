"""Three ways to one vector, and PyG's own layers as the reference."""

import numpy as np
import pytest
import torch
from torch_geometric.nn import GraphConv, SAGEConv, SimpleConv

from okml.errors import ParameterError
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.baselines.pinsage import PinSage, PinSageSettings
from okml.lightsage.experiments.networks import count_costs
from okml.lightsage.features import hop_features
from okml.lightsage.network.encoder import VARIANTS, Convolution, EncoderSettings, LightSAGE
from okml.lightsage.network.sampler import NeighborSampler
from tests.lightsage.toys import features, graph


def edges_of(adjacency):
    """Edge index (source, target) and weights, as PyG wants them."""
    triplets = adjacency.csr.tocoo()
    index = torch.from_numpy(np.stack([triplets.col, triplets.row]).astype(np.int64))
    return index, torch.from_numpy(triplets.data)


def test_rows_of_the_graph_sum_to_one_or_zero():
    a = graph()
    sums, isolated = a.csr.sum(1), a.isolated.numpy()
    assert np.allclose(sums[~isolated], 1, atol=1e-6)
    assert isolated[-5:].all()
    assert np.all(sums[isolated] == 0)


def test_adjacency_adds_up_repeated_edges_and_drops_loops():
    a = Adjacency.from_edges(3, *map(np.array, ([0, 0, 0, 1], [1, 1, 2, 1], [1.0, 2, 1, 5])))
    assert np.allclose(a.csr.toarray(), [[0, 0.75, 0.25], [0, 0, 0], [0, 0, 0]])
    found = a.entries(torch.tensor([0, 0, 1]), torch.tensor([1, 0, 1]))
    assert np.allclose(found, [0.75, 0, 0])


def test_adjacency_refuses_weights_and_numbers_that_make_no_graph():
    with pytest.raises(ParameterError, match="positive"):
        Adjacency.from_edges(2, np.array([0]), np.array([1]), np.array([0.0]))
    with pytest.raises(ParameterError, match="outside"):
        Adjacency.from_edges(2, np.array([0]), np.array([2]), np.array([1.0]))


def test_the_message_is_that_of_pygs_simple_conv():
    a, x = graph(), features()
    index, weight = edges_of(a)
    layer = Convolution(6, 6, own=False)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.eye(6))
        layer.linear.bias.zero_()
    expected = SimpleConv(aggr="sum")(x, index, weight)
    torch.testing.assert_close(layer(x, index, weight, len(x)), expected)


def test_the_layer_is_pygs_graph_conv():
    a, x = graph(), features()
    index, weight = edges_of(a)
    layer, peer = Convolution(6, 5), GraphConv(6, 5, aggr="add")
    with torch.no_grad():
        layer.linear.weight.copy_(torch.cat([peer.lin_root.weight, peer.lin_rel.weight], 1))
        layer.linear.bias.copy_(peer.lin_rel.bias)
    torch.testing.assert_close(layer(x, index, weight, len(x)), peer(x, index, weight))


def test_with_equal_weights_the_layer_is_pygs_sage_conv():
    a, x = graph(), features()
    index, _ = edges_of(a)
    degree = torch.bincount(index[1], minlength=len(x)).clamp(min=1)
    layer, peer = Convolution(6, 5, normalize=True), SAGEConv(6, 5, normalize=True)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.cat([peer.lin_r.weight, peer.lin_l.weight], 1))
        layer.linear.bias.copy_(peer.lin_l.bias)
    torch.testing.assert_close(layer(x, index, 1 / degree[index[1]], len(x)), peer(x, index))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_gives_one_vector_by_every_way(name):
    torch.manual_seed(0)
    a, x = graph(), features()
    encoder = LightSAGE(VARIANTS[name], 6)
    whole = encoder.embed(x, a)
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    seeds = torch.tensor([3, 39, 7, 0])
    sampler = NeighborSampler(a, (40,) * encoder.settings.layers)
    sampled = sampler.sample(seeds, np.random.default_rng(0))
    blocks = encoder(x[sampled.nodes], sampled.nodes, sampled.blocks)
    assert np.allclose(blocks.detach().numpy()[: len(seeds)], whole[seeds], atol=1e-5)
    if not encoder.settings.sampled:
        hops = hop_features(x, a)
        assert np.allclose(encoder.embed_hops(hops), whole, atol=1e-5)
    else:
        with pytest.raises(ParameterError, match="more than one hop"):
            encoder.of_hop(torch.zeros(1, 6), torch.zeros(1, 6))


def test_pinsage_layer_is_the_papers_formula():
    torch.manual_seed(0)
    a, x = graph(), features()
    model = PinSage(PinSageSettings(layers=1), 6, width=4)
    layer = model.hops[0]
    passed = torch.relu(x @ layer.neighbor.weight.T + layer.neighbor.bias)
    mean = torch.from_numpy(a.csr.toarray()) @ passed
    new = torch.relu(torch.cat([x, mean], 1) @ layer.linear.weight.T + layer.linear.bias)
    new = torch.nn.functional.normalize(new, dim=1)
    first, _, last = model.head
    z = torch.relu(new @ first.weight.T + first.bias) @ last.weight.T
    expected = torch.nn.functional.normalize(z, dim=1).detach().numpy()
    assert np.allclose(model.embed(x, a), expected, atol=1e-5)


def test_unknown_items_have_no_vector_of_their_own():
    torch.manual_seed(0)
    a, x = graph(), torch.zeros(40, 6)
    known = np.arange(40) < 20
    model = LightSAGE(EncoderSettings(layers=0, item_vectors=True), 6, known)
    vectors = model.embed(x, a)
    assert np.allclose(vectors[20:], vectors[20])  # features alone, and they are equal
    assert vectors[:20].round(decimals=4).unique(dim=0).shape[0] == 20
    with pytest.raises(ParameterError, match="which items"):
        LightSAGE(EncoderSettings(item_vectors=True), 6)


def test_costs_are_those_of_the_paper_and_pencil():
    light = count_costs(VARIANTS["V0"], 32, (10, 5))
    sage = count_costs(VARIANTS["V4"], 32, (10, 5))
    assert (light.parameters, light.relu, light.norms) == (64 * 64 + 64, 0, 1)
    assert sage.parameters == 64 * 64 + 64 + 128 * 64 + 64
    # The first layer for the item and its ten neighbors, the second for the item.
    assert sage.relu == 64 * (1 + 10) + 64
    assert sage.norms == (1 + 10) + 1 + 1
    assert (light.nodes, sage.nodes) == (2, 1 + 10 + 50)
    assert count_costs(VARIANTS["V1"], 32, (10, 5)).relu == 64


def test_settings_that_read_nothing_are_refused():
    with pytest.raises(ValueError, match="nothing to encode"):
        EncoderSettings(layers=0, own_features=False)
