"""LightGCN (He et al., 2020), PyG's model and loss: a vector per node, averaged over the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.nn.models import LightGCN

from okml.lightsage.training.trainer import Hyperparameters, train_module
from okml.settings import Depth, DeviceName, NonNegative, Settings
from okml.training import History
from okml.training.batches import Indices


class LightGCNSettings(Settings):
    """The published recipe, with a higher learning rate for few steps."""

    layers: Depth = 3
    penalty: NonNegative = 1e-4  # λ, of the squared vectors of a batch
    recipe: Hyperparameters = Hyperparameters(
        batch=2048, steps=300, learning_rate=1e-2, weight_decay=0
    )


@dataclass(frozen=True, eq=False)
class IdGraph:
    """A graph of numbered nodes, and its training pairs.

    Attributes:
        nodes: Number of nodes: items first, then users, if any.
        items: Number of items N.
        edges: Undirected edges, each once, ``[2, e]``.
        pairs: Training pairs of a node and an item, ``[2, p]``.
    """

    nodes: int
    items: int
    edges: NDArray[np.int64]
    pairs: NDArray[np.int64]

    @classmethod
    def of_users(cls, pairs: pl.DataFrame, items: int) -> IdGraph:
        """Return LightGCN's bipartite graph of users and items.

        Args:
            pairs: Distinct pairs of ``user`` and ``item``.
            items: Number of items N.
        """
        users, code = np.unique(pairs["user"].to_numpy(), return_inverse=True)
        item = pairs["item"].to_numpy().astype(np.int64)
        both = np.stack([items + code.ravel(), item])
        return cls(items + len(users), items, both, both)

    @classmethod
    def of_items(cls, edges: pl.DataFrame, items: int) -> IdGraph:
        """Return the item graph, whose edges are also the training pairs.

        Args:
            edges: Edges with the columns ``item`` and ``neighbor``.
            items: Number of items N.
        """
        both = edges.select("item", "neighbor").to_numpy().T.astype(np.int64)
        return cls(items, items, np.unique(np.sort(both, axis=0), axis=1), both)


class IdBatch(NamedTuple):
    """Nodes, their items and uniform negatives, ``[B]`` each."""

    node: Tensor
    item: Tensor
    negative: Tensor


class IdPairs:
    """A source of a graph's pairs with one uniform negative each."""

    def __init__(self, graph: IdGraph, batch_size: int) -> None:
        self.graph = graph
        self._length: int = -(-graph.pairs.shape[1] // batch_size) * batch_size

    def __len__(self) -> int:
        """Return the number of draws in an epoch, a multiple of the batch size."""
        return self._length

    def batch(self, indices: Indices, rng: np.random.Generator) -> IdBatch:
        """Draw as many pairs as there are ``indices``."""
        chosen = self.graph.pairs[:, rng.integers(self.graph.pairs.shape[1], size=len(indices))]
        negative = rng.integers(self.graph.items, size=len(indices))
        node, item = (torch.from_numpy(np.ascontiguousarray(row)) for row in chosen)
        return IdBatch(node, item, torch.from_numpy(negative))


class Propagation(torch.autograd.Function):
    """The product ``S x`` with a symmetric sparse matrix, whose gradient is the same product.

    Its memory is that of the result. PyG's message passing holds a vector for each edge, and
    torch's sparse product transposes the matrix in each backward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, starts: Tensor, neighbors: Tensor, weights: Tensor) -> Tensor:
        """Return ``S x``, ``[n, d]``, from the compressed rows of S."""
        ctx.save_for_backward(starts, neighbors, weights)
        return _product(x, starts, neighbors, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Return ``S g``, ``[n, d]``, since S is symmetric, and nothing for the graph."""
        return _product(gradients[0].contiguous(), *ctx.saved_tensors), None, None, None


def _product(x: Tensor, starts: Tensor, neighbors: Tensor, weights: Tensor) -> Tensor:
    found: Tensor = nn.functional.embedding_bag(
        neighbors, x, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
    return found


class LightGCNLoss(nn.Module):
    """LightGCN with its BPR loss, and the graph ``D^-1/2 A D^-1/2`` as buffers."""

    def __init__(self, graph: IdGraph, settings: LightGCNSettings, width: int) -> None:
        super().__init__()
        self.model = LightGCN(graph.nodes, width, settings.layers)
        self.penalty = settings.penalty
        both = np.concatenate([graph.edges, graph.edges[::-1]], axis=1).astype(np.int32)
        shape = (graph.nodes, graph.nodes)
        matrix = sp.coo_array((np.ones(both.shape[1], np.float32), both), shape).tocsr()
        root = np.sqrt(np.maximum(np.diff(matrix.indptr), 1).astype(np.float32))
        weights = 1 / (np.repeat(root, np.diff(matrix.indptr)) * root[matrix.indices])
        for name, part in (("starts", matrix.indptr), ("neighbors", matrix.indices),
                           ("weights", weights)):  # fmt: skip
            self.register_buffer(name, torch.from_numpy(part), persistent=False)

    def vectors(self) -> Tensor:
        """Return the vectors of all nodes, the mean over the layers, ``[n, d]``."""
        x = self.model.embedding.weight
        total = x
        for _ in range(self.model.num_layers):
            x = Propagation.apply(  # type: ignore[no-untyped-call]
                x, self.starts, self.neighbors, self.weights
            )
            total = total + x
        mean: Tensor = total / (self.model.num_layers + 1)
        return mean

    def forward(self, batch: IdBatch) -> Tensor:
        """Return the BPR loss of a batch with the penalty of its initial vectors, a scalar."""
        vectors = self.vectors()
        node = vectors[batch.node]
        positive = (node * vectors[batch.item]).sum(-1)
        negative = (node * vectors[batch.negative]).sum(-1)
        ids = torch.cat([*batch])
        loss: Tensor = self.model.recommendation_loss(
            positive, negative, node_id=ids, lambda_reg=self.penalty
        )
        return loss


def lightgcn(
    graph: IdGraph,
    settings: LightGCNSettings,
    *,
    width: int,
    seed: int,
    device: DeviceName = "auto",
    folder: Path | None = None,
    evaluate: Callable[[Tensor], Mapping[str, float]] | None = None,
) -> tuple[Tensor, History]:
    """Train LightGCN; return unit vectors of items, ``[N, d]``, and the metrics of the training.

    Items without edges have zeros.

    Args:
        graph: Graph of users and items, or of items.
        settings: Hyperparameters of the model and its training.
        width: Length d of the vectors.
        seed: Random seed of weights and pairs.
        device: Device of the training.
        folder: Folder of checkpoints; None: nothing is written.
        evaluate: Function that returns the validation's metric of item vectors.
    """
    torch.manual_seed(seed)
    objective = LightGCNLoss(graph, settings, width)
    # An item without edges keeps its random initial vector.
    lonely = torch.from_numpy(np.setdiff1d(np.arange(graph.items), graph.edges))

    @torch.no_grad()
    def item_vectors() -> Tensor:
        vectors = nn.functional.normalize(objective.vectors()[: graph.items], dim=-1)
        vectors[lonely] = 0
        return vectors

    history = train_module(
        objective, IdPairs(graph, settings.recipe.batch), settings.recipe, seed=seed,
        device=device, folder=folder, evaluate=evaluate and (lambda: evaluate(item_vectors())),
    )  # fmt: skip
    return item_vectors(), history
