import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.lightsage.adjacency import Adjacency
from okml.lightsage.network.encoder import VARIANTS, LightSAGE
from okml.lightsage.tail import (
    Groups,
    TailVectors,
    contract,
    contracted_adjacency,
    group_features,
    group_tail,
)
from tests.lightsage.toys import edge_frame, features


def adjacency(frame, nodes=40):
    return Adjacency.from_edges(
        nodes, *(frame[name].to_numpy() for name in ("item", "neighbor", "weight"))
    )


@given(st.integers(0, 1000), st.integers(1, 15))
def test_groups_cover_the_tail_and_cross_no_category(seed, size):
    rng = np.random.default_rng(seed)
    tail, category, kind = rng.random(60) < 0.7, rng.integers(0, 3, 60), rng.integers(0, 2, 60)
    groups = group_tail(tail, category, kind, rng.normal(size=(60, 4)), size)
    assert (groups.members == tail).all()
    for number in range(groups.count):
        members = np.flatnonzero(groups.group == number)
        assert 1 <= len(members) <= size
        assert len(set(zip(category[members], kind[members], strict=True))) == 1


def test_near_items_come_into_one_group():
    values = np.array([0.0, 10, 0.1, 10.1, 0.2, 10.2])
    groups = group_tail(np.ones(6, bool), np.zeros(6, int), np.zeros(6, int), values[:, None], 3)
    assert groups.group[[0, 2, 4]].tolist() in ([0] * 3, [1] * 3)
    assert groups.group[[1, 3, 5]].tolist() in ([0] * 3, [1] * 3)
    assert groups.count == 2


@given(st.integers(0, 1000))
def test_shuffled_groups_keep_their_sizes_and_the_keys_of_their_members(seed):
    rng = np.random.default_rng(seed)
    tail, category, kind = rng.random(80) < 0.7, rng.integers(0, 3, 80), rng.integers(0, 2, 80)
    groups = group_tail(tail, category, kind, rng.normal(size=(80, 4)), 3)
    key = 2 * category + kind
    other = groups.shuffled(rng, key)
    assert (other.members == groups.members).all()
    assert (other.group != groups.group).any()
    rows = [sorted(zip(g.group[tail], key[tail], strict=True)) for g in (groups, other)]
    assert rows[0] == rows[1]


def test_a_new_item_joins_the_nearest_group_of_its_key():
    group = np.array([0, 0, 1, 2, -1, -1, -1])
    values = np.array([0.0, 2, 9, 1.1, 1.2, 8, 5])[:, None]
    key = np.array([0, 0, 0, 1, 0, 0, 2])
    new = np.arange(7) >= 4
    joined = Groups(group, 3).joined_by(new, key, values)
    # Group 2 is nearer to the first but has another key; nothing has the key of the last.
    assert joined.group.tolist() == [0, 0, 1, 2, 0, 1, -1]


def test_contraction_by_hand():
    groups = Groups(np.array([-1, 0, 0, -1]), 1)
    edges = pl.DataFrame(
        {"item": [0, 0, 1, 1, 2], "neighbor": [1, 2, 2, 3, 3], "weight": [1.0, 2, 4, 8, 16]}
    )
    found = contract(edges, groups)
    assert found.rows() == [(0, 4, 3.0), (4, 3, 24.0)]


@given(st.integers(0, 1000))
def test_contraction_keeps_all_weight_but_that_of_loops(seed):
    rng = np.random.default_rng(seed)
    frame = edge_frame(seed=seed)
    group = np.where(rng.random(40) < 0.5, rng.integers(0, 4, 40), -1)
    groups = Groups(group, 4)
    node = groups.node()
    loops = node[frame["item"].to_numpy()] == node[frame["neighbor"].to_numpy()]
    lost = frame["weight"].to_numpy()[loops].sum()
    assert contract(frame, groups)["weight"].sum() == pytest.approx(frame["weight"].sum() - lost)


def test_contracted_rows_are_capped_and_sum_to_one():
    groups = Groups(np.where(np.arange(40) < 20, np.arange(40) // 5, -1), 4)
    a = contracted_adjacency(edge_frame(edges=500), groups, 3)
    assert len(a) == 44
    assert a.degrees.max() == 3
    assert a.isolated[:20].all()
    assert np.allclose(a.csr.sum(1)[~a.isolated.numpy()], 1, atol=1e-6)


def test_a_group_has_the_mean_of_its_members():
    x = features()
    groups = Groups(np.where(np.arange(40) < 6, np.arange(40) // 3, -1), 2)
    both = group_features(x, groups)
    assert np.allclose(both[:40], x)
    assert np.allclose(both[40:], np.stack([x[:3].mean(0), x[3:6].mean(0)]), atol=1e-6)


@pytest.fixture
def served():
    torch.manual_seed(0)
    frame = edge_frame()
    symmetric = pl.concat([frame, frame.select(item="neighbor", neighbor="item", weight="weight")])
    a = adjacency(symmetric)
    # Items 30 to 39 are the tail; the last five have no edges.
    groups = Groups(np.where(np.arange(40) >= 30, np.arange(40) % 2, -1), 2)
    encoder = LightSAGE(VARIANTS["V0"], 6)
    return TailVectors.embed(
        encoder, features(), a, groups, contracted_adjacency(symmetric, groups, 15), blend=0.0
    )


def test_the_digests_rule_pools_isolated_items_only(served):
    vectors = served.vectors("isolated")
    assert np.allclose(vectors[:35], served.own[:35])
    assert np.allclose(vectors[35:], served.of_group[np.arange(35, 40) % 2], atol=1e-6)
    assert np.allclose(
        served.vectors("all")[30:], served.of_group[np.arange(30, 40) % 2], atol=1e-6
    )
    assert np.allclose(served.vectors("own"), served.own)


def test_the_query_rule_prefers_own_vectors_next_to_the_viewed_item(served):
    items = torch.arange(40)
    pooled, query = served.scorer("all")(items), served.scorer("query")(items)
    asking = served.vectors("isolated")
    expected = asking @ served.vectors("all").T
    for i in items:
        for j in served.adjacency.csr[[int(i)]].indices:
            if j >= 30:
                expected[i, j] = max(expected[i, j], asking[i] @ served.own[j])
    assert np.allclose(query, expected, atol=1e-5)
    assert (query[:30] >= pooled[:30] - 1e-6).all()


def test_blending_parts_the_members_of_a_group(served):
    blended = TailVectors(served.own, served.of_group, served.groups, served.adjacency, 0.1)
    vectors = blended.vectors("isolated")[35:].numpy()
    assert np.unique(vectors.round(5), axis=0).shape[0] == 5
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
