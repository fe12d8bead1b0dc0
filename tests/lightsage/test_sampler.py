import numpy as np
import pytest
import torch

from okml.lightsage.adjacency import Adjacency
from okml.lightsage.network.sampler import NeighborSampler
from tests.lightsage.toys import graph


def rows(sampled, nodes_of_sources):
    """Weights by (target node, source node) of the last block."""
    block = sampled.blocks[-1]
    source, target = block.edge_index.numpy()
    return {
        (int(nodes_of_sources[t]), int(nodes_of_sources[s])): float(w)
        for s, t, w in zip(source, target, block.weight, strict=True)
    }


def test_fan_out_bounds_neighbors_and_weights_sum_to_one():
    a = graph(edges=600)
    sampled = NeighborSampler(a, (3,)).sample(torch.arange(40), np.random.default_rng(0))
    target, weight = sampled.blocks[0].edge_index[1].numpy(), sampled.blocks[0].weight.numpy()
    counts = np.bincount(target, minlength=40)
    assert (counts == np.minimum(a.degrees.numpy(), 3)).all()
    sums = np.bincount(target, weights=weight, minlength=40)
    assert np.allclose(sums[~a.isolated], 1, atol=1e-6)


def test_seeds_come_first_and_a_node_is_read_once():
    a = graph(edges=300)
    seeds = torch.tensor([30, 2, 11])
    sampled = NeighborSampler(a, (4, 4)).sample(seeds, np.random.default_rng(0))
    assert (sampled.nodes[:3] == seeds).all()
    assert len(np.unique(sampled.nodes)) == len(sampled.nodes)
    outer, inner = sampled.blocks
    assert inner.targets == 3
    assert outer.targets == 1 + int(inner.edge_index.max())


def test_an_edge_that_is_left_out_is_read_in_neither_direction():
    a = graph(edges=300)
    item = np.flatnonzero(a.degrees > 2)[0]
    neighbor = a.csr[[item]].indices[0]
    sampler = NeighborSampler(a, (40,))
    seeds = torch.tensor([item, neighbor])
    without = torch.tensor([[0], [1]])  # by their places
    found = rows(s := sampler.sample(seeds, np.random.default_rng(0), without), s.nodes)
    # What is left are all edges of the graph without that one.
    dense = a.csr.toarray()
    dense[item, neighbor] = dense[neighbor, item] = 0
    dense /= np.maximum(dense.sum(1, keepdims=True), 1e-30)
    left = {(t, int(s)): dense[t, s] for t in seeds.tolist() for s in np.flatnonzero(dense[t])}
    assert found == pytest.approx(left, abs=1e-6)


def test_heavy_neighbors_are_drawn_more_often():
    a = Adjacency.from_edges(4, np.zeros(3, int), np.array([1, 2, 3]), np.array([6.0, 3, 1]))
    sampler, rng = NeighborSampler(a, (1,)), np.random.default_rng(0)
    drawn = np.array([sampler.sample(torch.tensor([0]), rng).nodes[1] for _ in range(4000)])
    shares = np.bincount(drawn, minlength=4)[1:] / 4000
    assert shares == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
