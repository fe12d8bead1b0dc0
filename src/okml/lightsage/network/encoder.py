"""LightSAGE and its variants, which map items to unit vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from okml.errors import ParameterError
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.features import HopFeatures
from okml.settings import BelowOne, Settings, Whole, Width


class EncoderSettings(Settings):
    """The architecture of an item encoder; the defaults are LightSAGE as we read it.

    The digest says "fewer layers, and no non-linearity in some of them"; the exact layer is
    unpublished, so its readings are variants of one class, and the default is one linear hop.
    """

    layers: Whole = 1  # hops; 0: the item's own features only
    width: Width = 64  # d, of the embedding and of inner layers
    # A ReLU after every layer (GraphSAGE), between layers, or nowhere.
    activation: Literal["none", "between", "all"] = "none"
    head: bool = False  # a ReLU and one more linear map after the last layer
    normalize_layers: bool = False  # L2 norm after every layer, as in GraphSAGE
    own_features: bool = True  # whether a layer reads the item beside its neighborhood
    # A learned vector of each known item, concatenated with its features. Not inductive.
    item_vectors: bool = False
    item_dropout: BelowOne = 0.5  # share of item vectors that training drops as a whole

    @model_validator(mode="after")
    def _hops_have_something_to_read(self) -> Self:
        if self.layers == 0 and not self.own_features:
            raise ValueError("without a hop and without own features there is nothing to encode")
        return self

    @property
    def sampled(self) -> bool:
        """Whether training samples neighborhoods; one hop of fixed features is precomputed."""
        return self.layers > 1 or self.item_vectors


VARIANTS: dict[str, EncoderSettings] = {
    "V0": EncoderSettings(),
    "V1": EncoderSettings(head=True),
    "V2": EncoderSettings(layers=2),
    "V3": EncoderSettings(layers=2, activation="between"),
    "V4": EncoderSettings(layers=2, activation="all", normalize_layers=True),
    "V5": EncoderSettings(layers=0),
    "V6": EncoderSettings(own_features=False),
}
MEANING = {
    "V0": "LightSAGE: one linear hop",
    "V1": "one hop, one ReLU",
    "V2": "two linear hops",
    "V3": "two hops, ReLU between",
    "V4": "GraphSAGE-mean, two layers",
    "V5": "no graph",
    "V6": "neighbors only",
}


class Convolution(MessagePassing):  # type: ignore[misc]
    """``[h || A h] W + b``, optionally with GraphSAGE's activation and normalization.

    PyG's ``SAGEConv`` has no edge weights; here messages are weighted by the entries of the
    row-normalized ``A``.

    Args:
        inputs: Dimension of ``h``.
        outputs: Dimension of the result.
        own: Whether a node's own vector is concatenated with its neighborhood.
        activation: Whether to apply a ReLU.
        normalize: Whether to scale each result to length 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        own: bool = True,
        activation: bool = False,
        normalize: bool = False,
    ) -> None:
        super().__init__(aggr="add")
        self.own = own
        self.activation = activation
        self.normalize = normalize
        self.linear = nn.Linear(2 * inputs if own else inputs, outputs)

    def forward(self, h: Tensor, edge_index: Tensor, weight: Tensor, targets: int) -> Tensor:
        """Return new vectors of the first ``targets`` nodes, ``[targets, outputs]``.

        Args:
            h: Vectors of all nodes, the targets first, ``[n, inputs]``.
            edge_index: Local numbers of sources and of targets, ``[2, e]``.
            weight: Entries of ``A``, ``[e]``.
            targets: Number of targets.
        """
        own = h[:targets]
        given = (self.before(h), None)
        neighborhood = self.propagate(edge_index, x=given, weight=weight, size=(len(h), targets))
        return self.combine(own, neighborhood)

    def before(self, h: Tensor) -> Tensor:
        """Return the vectors that neighbors send, ``[n, inputs]``: here ``h`` itself."""
        return h

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        """Return the message of each edge, ``[e, inputs]``."""
        return weight.unsqueeze(-1) * x_j

    def combine(self, own: Tensor, neighborhood: Tensor) -> Tensor:
        """Return new vectors from own ones and weighted means of neighbors, ``[n, outputs]``."""
        read = torch.cat([own, neighborhood], -1) if self.own else neighborhood
        h: Tensor = self.linear(read)
        if self.activation:
            h = h.relu()
        return nn.functional.normalize(h, dim=-1) if self.normalize else h


class MessageFlow(NamedTuple):
    """Edges from the sources of one hop to its targets, which are the first of the sources."""

    edge_index: Tensor  # local numbers of sources and targets, [2, e]
    weight: Tensor  # entries of A, [e]
    targets: int


class GraphEncoder(nn.Module):
    """Convolutions over the graph, then a head and L2 normalization.

    Args:
        convolutions: Convolution of each hop, the farthest first.
        head: Module after the last hop.
        items: Learned item vectors, concatenated with the features; None: features only.
    """

    def __init__(
        self,
        convolutions: Iterable[Convolution],
        head: nn.Module,
        items: ItemVectors | None = None,
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        self.head = head
        self.items = items

    @property
    def hops(self) -> list[Convolution]:
        """Convolutions in the order of application."""
        return cast(list[Convolution], list(self.convolutions))

    def forward(self, features: Tensor, ids: Tensor, blocks: Sequence[MessageFlow]) -> Tensor:
        """Return vectors of the targets of the last block, ``[n, d]``.

        Args:
            features: Features of the sources of the first block, ``[n0, F]``.
            ids: Node numbers of the sources, ``[n0]``.
            blocks: MessageFlow of each hop, the farthest first.
        """
        h = self._inputs(features, ids)
        for convolution, block in zip(self.hops, blocks, strict=True):
            h = convolution(h, block.edge_index, block.weight, block.targets)
        return self._finish(h)

    @torch.no_grad()
    def embed(self, features: Tensor, adjacency: Adjacency) -> Tensor:
        """Return vectors of all nodes, ``[N, d]``, by full-graph inference without sampling.

        It computes on the encoder's device.

        Args:
            features: Features X, ``[N, F]``.
            adjacency: Row-normalized graph A.
        """
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        adjacency = adjacency.to(device)
        h = self._inputs(features.to(device), torch.arange(len(features), device=device))
        for convolution in self.hops:
            neighborhood = adjacency.means(convolution.before(h))  # [N, inputs of the map]
            h = convolution.combine(h, neighborhood)  # [N, d]
        self.train(was_training)
        return self._finish(h)

    def _inputs(self, features: Tensor, ids: Tensor) -> Tensor:
        if self.items is None:
            return features
        return torch.cat([features, self.items(ids)], -1)

    def _finish(self, h: Tensor) -> Tensor:
        return nn.functional.normalize(self.head(h), dim=-1, eps=1e-12)


class ItemVectors(nn.Module):
    """A learned vector for each known item; zero for all others.

    Args:
        width: Dimension of a vector.
        known: Mask of the items with a learned vector, ``[N]``.
        dropout: Share of vectors that are dropped in training, so that features stay in use.
    """

    def __init__(self, width: int, known: NDArray[np.bool_], dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(len(known), width)
        nn.init.normal_(self.table.weight, std=0.1)
        self.register_buffer("known", torch.from_numpy(known.copy()))
        self.dropout = dropout

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of items, ``[n, d]``."""
        kept = self.known[ids].float()  # type: ignore[index]
        if self.training:
            kept = kept * (torch.rand_like(kept) >= self.dropout) / (1 - self.dropout)
        vectors: Tensor = self.table(ids) * kept.unsqueeze(-1)
        return vectors


class LightSAGE(GraphEncoder):
    """The inductive encoder of the chapter, from features and neighborhood of an item.

    For one hop of fixed features, ``of_hop`` returns the vectors of ``forward`` from the item's
    features and the precomputed mean of its neighbors' features.

    Args:
        features: Number of node features F.
        known: Mask of the items with a learned vector, ``[N]``; required by
            ``settings.item_vectors``.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        features: int,
        known: NDArray[np.bool_] | None = None,
    ) -> None:
        width, last = settings.width, settings.layers - 1
        items = None
        if settings.item_vectors:
            if known is None:
                raise ParameterError("Learned item vectors need to know which items training sees.")
            items = ItemVectors(width, known, settings.item_dropout)
            features += width
        convolutions = [
            Convolution(
                features if layer == 0 else width,
                width,
                own=settings.own_features,
                activation=settings.activation == "all"
                or (settings.activation == "between" and layer < last),
                normalize=settings.normalize_layers,
            )
            for layer in range(settings.layers)
        ]
        head: list[nn.Module] = [] if settings.layers else [nn.Linear(features, width)]
        if settings.head:
            head += [nn.ReLU(), nn.Linear(width, width)]
        super().__init__(convolutions, nn.Sequential(*head), items)
        self.settings = settings

    def of_hop(self, own: Tensor, neighborhood: Tensor) -> Tensor:
        """Return vectors from features and their means over neighbors, both ``[n, F]``."""
        if self.settings.sampled:
            raise ParameterError("This encoder reads more than one hop of fixed features.")
        if self.settings.layers == 0:
            return self._finish(own)
        return self._finish(self.hops[0].combine(own, neighborhood))

    @torch.no_grad()
    def embed_hops(self, features: HopFeatures) -> Tensor:
        """Return vectors of all items, ``[N, d]``, from the tables X and A X."""
        device = next(self.parameters()).device
        return self.of_hop(features.own.to(device), features.neighborhood.to(device))
