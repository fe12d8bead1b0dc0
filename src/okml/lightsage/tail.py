"""The long tail: groups of similar items, their contracted graph, and serving policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.lightsage.adjacency import Adjacency
from okml.lightsage.network.encoder import GraphEncoder
from okml.lightsage.ranking import Numbers, Scorer

# own:       every item has its own vector
# isolated:  the digest's rule: a tail item with an edge has its own vector, one without an edge
#            has the vector of its group
# all:       every item of the tail has the vector of its group
# query:     the digest's rule taken literally: the group's vector, and for viewers of a neighbor
#            also the own vector; the better score counts
Policy = Literal["own", "isolated", "all", "query"]

# similar: runs of near features within a category and type
# random:  groups of the same sizes with members drawn within a category and type
# key:     one group for each category and type, all that the catalog knows
# large:   as similar, with more members
# joined:  similar items that somebody opened in training; new ones join the nearest group
Grouping = Literal["similar", "random", "key", "large", "joined"]


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of tail items.

    Attributes:
        group: Group of each item, ``[N]``; -1 for ungrouped items.
        count: Number of groups G.
    """

    group: Numbers
    count: int

    @property
    def members(self) -> NDArray[np.bool_]:
        """Items that belong to a group, ``[N]``."""
        return self.group >= 0

    def node(self) -> Numbers:
        """Return the node of each item in the contracted graph, ``[N]``: the item, or N + group."""
        items = np.arange(len(self.group))
        return np.where(self.members, len(items) + self.group, items)

    def without(self, items: NDArray[np.bool_]) -> Groups:
        """Return the groups without some of their members, a mask ``[N]``; groups may be empty."""
        return Groups(np.where(items, -1, self.group), self.count)

    def shuffled(self, rng: np.random.Generator, key: NDArray[np.integer]) -> Groups:
        """Return groups of the same sizes with members drawn among items of the same key.

        This is the control of similarity: keys are kept, and proximity within a key is not.

        Args:
            rng: Random generator of the members.
            key: Key of each item, such as its category and type, ``[N]``.
        """
        members = np.flatnonzero(self.members)
        group = self.group.copy()
        group[members] = self.group[members[shuffled_within(key[members], rng)]]
        return Groups(group, self.count)

    def joined_by(
        self,
        new: NDArray[np.bool_],
        key: NDArray[np.integer],
        features: NDArray[np.floating],
    ) -> Groups:
        """Return the groups with new items in the group of their key with the nearest mean.

        This is what happens to an item that arrives after the training. It stays ungrouped if no
        group has its key.

        Args:
            new: Mask of the items that join, ``[N]``, none of which has a group.
            key: Key of each item, such as its category and type, ``[N]``; a group has one.
            features: Item features, ``[N, F]``.
        """
        members = np.flatnonzero(self.members)
        sizes = np.bincount(self.group[members], minlength=self.count)
        means = np.zeros((self.count, features.shape[1]))
        np.add.at(means, self.group[members], features[members])
        means /= np.maximum(sizes, 1)[:, None]
        key_of = np.full(self.count, -1, np.int64)
        key_of[self.group[members]] = key[members]
        group = self.group.copy()
        for item in np.flatnonzero(new):
            there = np.flatnonzero(key_of == key[item])
            if len(there):
                distances = ((means[there] - features[item]) ** 2).sum(1)
                group[item] = there[distances.argmin()]
        return Groups(group, self.count)


def shuffled_within(key: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a random permutation, ``[n]``, that keeps keys: ``key[order] == key``."""
    order = np.empty(len(key), np.int64)
    order[np.argsort(key, kind="stable")] = np.lexsort((rng.random(len(key)), key))
    return order


def group_tail(
    tail: NDArray[np.bool_],
    category: NDArray[np.integer],
    kind: NDArray[np.integer],
    features: NDArray[np.floating],
    size: int = 12,
) -> Groups:
    """Group similar items of one category and type.

    Within a category and type, items are sorted by the first principal component of their features
    and split into runs of nearly equal length.

    Args:
        tail: Mask of the items to group, ``[N]``.
        category: Category of each item, ``[N]``, which groups never cross.
        kind: Type of each item within its category, ``[N]``, which groups never cross.
        features: Item features, ``[N, F]``.
        size: Largest number of members of a group.
    """
    group = np.full(len(tail), -1, np.int64)
    count = 0
    members = np.flatnonzero(tail)
    members = members[np.lexsort((kind[members], category[members]))]  # stable: by number within
    changes = (np.diff(category[members]) != 0) | (np.diff(kind[members]) != 0)
    for chosen in np.split(members, np.flatnonzero(changes) + 1) if len(members) else ():
        ordered = chosen[np.argsort(_first_component(features[chosen]), kind="stable")]
        for part in np.array_split(ordered, -(-len(ordered) // size)):
            group[part] = count
            count += 1
    return Groups(group, count)


def _first_component(features: NDArray[np.floating]) -> NDArray[np.float64]:
    centered = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    axis = axes[0] * np.sign(axes[0][np.abs(axes[0]).argmax()])  # the sign is arbitrary otherwise
    along: NDArray[np.float64] = centered @ axis
    return along


def group_features(features: Tensor, groups: Groups) -> Tensor:
    """Return the features of items, followed by the means of groups, ``[N + G, F]``."""
    order = np.argsort(groups.group, kind="stable")
    members = order[np.count_nonzero(~groups.members) :]  # group by group
    sizes = np.bincount(groups.group[members], minlength=groups.count)
    starts = torch.from_numpy(np.cumsum(sizes) - sizes).to(features.device)
    read = torch.from_numpy(members).to(features.device)
    means = nn.functional.embedding_bag(read, features, starts, mode="mean")  # [G, F]
    return torch.cat([features, means])


def contract(edges: pl.DataFrame, groups: Groups) -> pl.DataFrame:
    """Contract members to their groups: sum parallel edges, drop self-loops.

    Args:
        edges: Edges with the columns ``item``, ``neighbor``, ``weight``.
        groups: Groups of items that become one node, number N + group.
    """
    node = pl.Series(groups.node())
    return (
        edges.select(
            item=node.gather(edges["item"]), neighbor=node.gather(edges["neighbor"]),
            weight=edges["weight"],
        )
        .filter(pl.col("item") != pl.col("neighbor"))
        .group_by("item", "neighbor")
        .agg(pl.col("weight").sum())
        .sort("item", "neighbor")
    )  # fmt: skip


def contracted_adjacency(edges: pl.DataFrame, groups: Groups, most_neighbors: int) -> Adjacency:
    """Return the graph of ungrouped items and groups; members themselves are isolated.

    Args:
        edges: Edges of items with the columns ``item``, ``neighbor``, ``weight``.
        groups: Groups of items that become one node.
        most_neighbors: Largest number of neighbors K, applied again after the sum of weights.
    """
    kept = (
        contract(edges, groups)
        .sort("item", "weight", "neighbor", descending=[False, True, False])
        .group_by("item", maintain_order=True)
        .head(most_neighbors)
    )
    columns = (kept[name].to_numpy() for name in ("item", "neighbor", "weight"))
    return Adjacency.from_edges(len(groups.group) + groups.count, *columns)


@dataclass(frozen=True, eq=False)
class TailVectors:
    """The vectors of items and of groups, and the serving policies.

    Attributes:
        own: Own vector of each item, from its features and neighbors, ``[N, d]``.
        of_group: Vector of each group, ``[G, d]``.
        adjacency: Row-normalized graph of items.
        blend: Share of the own vector in the served vector of a member, which breaks ties within a
            group.
    """

    own: Tensor
    of_group: Tensor
    groups: Groups
    adjacency: Adjacency
    blend: float = 0.1

    @classmethod
    def embed(
        cls,
        encoder: GraphEncoder,
        features: Tensor,
        adjacency: Adjacency,
        groups: Groups,
        contracted: Adjacency,
        blend: float = 0.1,
    ) -> TailVectors:
        """Embed items in their graph and groups in the contracted one.

        Args:
            encoder: The trained encoder.
            features: Features X of the items, ``[N, F]``.
            adjacency: Row-normalized graph of the N items.
            groups: The G groups of tail items.
            contracted: Row-normalized graph of N + G nodes: the items, of which members of groups
                are isolated, and the groups.
            blend: Share of the own vector in the served vector of a member.
        """
        own = encoder.embed(features, adjacency)
        together = encoder.embed(group_features(features, groups), contracted)
        return cls(own, together[len(own) :], groups, adjacency.to(own.device), blend)

    @property
    def members(self) -> Tensor:
        """Items that belong to a group, ``[N]``."""
        return torch.from_numpy(self.groups.members).to(self.own.device)

    def vectors(self, policy: Policy) -> Tensor:
        """Return the vectors in the index, ``[N, d]``."""
        if policy == "own":
            return self.own
        pooled = self.members
        if policy == "isolated":
            pooled = pooled & self.adjacency.isolated
        vectors, group = self.own.clone(), torch.from_numpy(self.groups.group).to(self.own.device)
        mixed = (1 - self.blend) * self.of_group[group[pooled]] + self.blend * self.own[pooled]
        vectors[pooled] = nn.functional.normalize(mixed, dim=1)
        return vectors

    def scorer(self, policy: Policy) -> Scorer:
        """Return the scorer of a policy."""
        indexed = self.vectors(policy)
        # The query vector is that of the policy `isolated`.
        asking = self.vectors("isolated") if policy == "query" else indexed

        def score(items: Tensor) -> Tensor:
            scores = asking[items] @ indexed.T
            return (
                self._preferring_neighbors(items, asking, scores) if policy == "query" else scores
            )

        return score

    def _preferring_neighbors(self, items: Tensor, asking: Tensor, scores: Tensor) -> Tensor:
        """Score tail neighbors of each item also by their own vectors; keep the better score."""
        items = items.to(scores.device)
        neighbors, weights = self.adjacency.padded(items)  # [q, K] each
        rows, columns = ((weights > 0) & self.members[neighbors]).nonzero(as_tuple=True)
        found = neighbors[rows, columns].long()
        own = (asking[items[rows]] * self.own[found]).sum(1)
        return scores.index_put((rows, found), torch.maximum(scores[rows, found], own))
