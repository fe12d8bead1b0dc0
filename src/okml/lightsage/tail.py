"""The long tail: groups of similar items, the graph they make, and whose vector is served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.lightsage.adjacency import Adjacency
from okml.lightsage.network.encoder import GraphEncoder
from okml.lightsage.ranking import Numbers, Scorer, Scores
from okml.lightsage.shuffling import shuffled_within

# own:       every item has its own vector
# isolated:  the digest's rule: an item of the tail with an edge is an ordinary item, one without
#            gets the vector of its group
# all:       every item of the tail has the vector of its group
# query:     the digest's rule word for word: the group's vector, and beside it the own vector for
#            those who look at a neighbor; the better score counts
Policy = Literal["own", "isolated", "all", "query"]


@dataclass(frozen=True, eq=False)
class Groups:
    """Which items of the tail belong together.

    Attributes:
        group: Of each item, ``[N]``; -1 for items that stand alone.
        count: G.
    """

    group: Numbers
    count: int

    @property
    def members(self) -> NDArray[np.bool_]:
        """Items that belong to a group, ``[N]``."""
        return self.group >= 0

    def node(self) -> Numbers:
        """Return the node of each item in the contracted graph, ``[N]``: itself, or N + group."""
        items = np.arange(len(self.group))
        return np.where(self.members, len(items) + self.group, items)

    def shuffled(self, rng: np.random.Generator, key: NDArray[np.integer]) -> Groups:
        """Return groups of the same sizes whose members are drawn among items of their key.

        That is the control of similarity: what the catalog says of an item is kept, and which items
        of one key lie near each other is not.

        Args:
            rng: What draws.
            key: Of each item, such as its category and type, ``[N]``.
        """
        members = np.flatnonzero(self.members)
        group = self.group.copy()
        group[members] = self.group[members[shuffled_within(key[members], rng)]]
        return Groups(group, self.count)


def group_tail(
    tail: NDArray[np.bool_],
    category: NDArray[np.integer],
    kind: NDArray[np.integer],
    features: NDArray[np.floating],
    size: int = 12,
) -> Groups:
    """Group items of one category and type that lie near each other.

    Within a category and type, items are ordered along the first principal component of their
    features and cut into runs of nearly equal length.

    Args:
        tail: Items to group, ``[N]``.
        category: Of each item, ``[N]``; groups never cross it.
        kind: Finer than the category, ``[N]``; likewise.
        features: ``[N, F]``.
        size: Most members of a group.
    """
    group = np.full(len(tail), -1, np.int64)
    count = 0
    members = np.flatnonzero(tail)
    keys = np.stack([category[members], kind[members]], 1)
    _, key = np.unique(keys, axis=0, return_inverse=True)
    for number in range(int(key.max(initial=-1)) + 1):
        chosen = members[key.ravel() == number]
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


def group_features(features: NDArray[np.floating], groups: Groups) -> NDArray[np.float32]:
    """Return features of items and, after them, the mean of each group's, ``[N + G, F]``."""
    members = groups.members
    sums = np.zeros((groups.count, features.shape[1]))
    np.add.at(sums, groups.group[members], features[members])
    sizes = np.bincount(groups.group[members], minlength=groups.count)
    return np.concatenate([features, sums / sizes[:, None]]).astype(np.float32)


def contract(edges: pl.DataFrame, groups: Groups) -> pl.DataFrame:
    """Re-point edges from members to their groups, add up what coincides, drop loops.

    Args:
        edges: ``item``, ``neighbor``, ``weight``.
        groups: Which items become one node, number N + group.
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
    """Return the graph of items that stand alone and groups; members themselves are isolated.

    Args:
        edges: Of items: ``item``, ``neighbor``, ``weight``.
        groups: Which items become one node.
        most_neighbors: K, kept again after weights were added up.
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
    """Vectors of items and of groups, and which of them is served.

    Attributes:
        own: From an item's features and neighbors, ``[N, d]``.
        of_group: ``[G, d]``.
        groups: Which group an item of the tail belongs to.
        adjacency: Of items.
        blend: Share of the own vector in what a member is served with, so that members of a group
            do not tie.
    """

    own: Scores
    of_group: Scores
    groups: Groups
    adjacency: Adjacency
    blend: float = 0.1

    @classmethod
    def embed(
        cls,
        encoder: GraphEncoder,
        features: NDArray[np.floating],
        adjacency: Adjacency,
        groups: Groups,
        contracted: Adjacency,
        blend: float = 0.1,
    ) -> TailVectors:
        """Embed items in their graph and groups in the contracted one."""
        own = encoder.embed(features, adjacency)
        together = encoder.embed(group_features(features, groups), contracted)
        return cls(own, together[len(own) :], groups, adjacency, blend)

    def vectors(self, policy: Policy) -> Scores:
        """Return what the index holds, ``[N, d]``."""
        vectors = self.own.copy()
        if policy == "own":
            return vectors
        pooled = self.groups.members
        if policy == "isolated":
            pooled = pooled & self.adjacency.isolated
        mixed = (1 - self.blend) * self.of_group[self.groups.group[pooled]]
        mixed += self.blend * self.own[pooled]
        vectors[pooled] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
        return vectors

    def scorer(self, policy: Policy) -> Scorer:
        """Return the scores that a policy gives all items."""
        indexed = self.vectors(policy)
        # A viewed item asks with the vector that an ordinary item of its kind is served with.
        asking = self.vectors("isolated") if policy == "query" else indexed

        def score(items: Numbers) -> Scores:
            scores: Scores = asking[items] @ indexed.T
            if policy == "query":
                self._prefer_neighbors(items, asking[items], scores)
            return scores

        return score

    def _prefer_neighbors(self, items: Numbers, asking: Scores, scores: Scores) -> None:
        """Score tail neighbors of each item by their own vectors too; the better one counts."""
        neighbors = self.adjacency.neighbors[items]  # [q, K]
        present = (self.adjacency.weights[items] > 0) & self.groups.members[neighbors]
        rows, columns = np.nonzero(present)
        found = neighbors[rows, columns]
        own = (asking[rows] * self.own[found]).sum(1)
        scores[rows, found] = np.maximum(scores[rows, found], own)
