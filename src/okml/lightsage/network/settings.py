"""The architecture of an encoder, and the variants that the chapter compares."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

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
    own_features: bool = True  # of the item, concatenated with its neighborhood in each layer
    # A learned vector of each known item, concatenated with its features. Not inductive.
    item_vectors: bool = False
    item_dropout: BelowOne = 0.5  # of whole item vectors

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
