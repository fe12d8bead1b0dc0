"""The settings of the chapter."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from okml.lightsage.arms import GraphName
from okml.lightsage.baselines.item2vec import Item2VecSettings
from okml.lightsage.baselines.lightgcn import LightGCNSettings
from okml.lightsage.baselines.pinsage import PinSageSettings
from okml.lightsage.graph import GraphSettings
from okml.lightsage.network.settings import VARIANTS
from okml.lightsage.serving import AnyIndex
from okml.lightsage.shop import ShopSettings
from okml.lightsage.training.batches import NegativeSettings
from okml.lightsage.training.losses import LossSettings
from okml.lightsage.training.trainer import Recipe
from okml.profile import Profile

DataName = Literal["synthetic", "movielens", "diginetica", "coveo"]
BaselineName = Literal[
    "random", "popularity", "popularity in category", "features", "cosine", "swing", "item2vec",
    "lightgcn users", "lightgcn items", "graphsage", "pinsage",
]  # fmt: skip


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(_Settings):
    """One shop, its graph and what counts as its tail."""

    name: DataName
    shop: ShopSettings = ShopSettings()  # of the synthetic one, drawn anew for each seed
    train_weeks: int | None = Field(default=None, ge=1)  # of diginetica; None: all before the test
    graph: GraphSettings = GraphSettings()
    tail_clicks: int = Field(default=8, ge=1)  # T: items with fewer in training are the tail
    test_pairs: int | None = Field(default=None, ge=1)  # drawn once where there are more; None: all
    # Names of the graph that every arm but the graph ablation uses.
    main_graph: GraphName = "full"
    baselines: tuple[BaselineName, ...] = ()  # beside the network

    @property
    def key(self) -> str:
        """A name for its folder, different for every shop and protocol."""
        digest = hashlib.sha256(self.model_dump_json(exclude={"baselines"}).encode()).hexdigest()
        return f"{self.name}_{digest[:8]}"


class TailSettings(_Settings):
    """How items of the tail are grouped and served."""

    group_size: int = Field(default=12, ge=1)  # most members
    blend: float = Field(default=0.1, ge=0, le=1)  # share of the own vector, λ
    hidden_share: float = Field(
        default=0.1, gt=0, lt=1
    )  # of rows, of the arm that learns isolation


class GallerySettings(_Settings):
    """Items whose related ones are shown."""

    titles: tuple[str, ...]  # beginnings of titles in MovieLens
    shown: int = Field(default=6, ge=1)


class LightsageProfile(Profile):
    """All settings of the chapter ``lightsage``."""

    chapter: ClassVar[str] = "lightsage"

    data: DataSettings  # ablations are about it
    real: tuple[DataSettings, ...] = ()  # real logs, with the baselines beside the network
    graphs: tuple[GraphName, ...] = Field(min_length=1)  # rows of the graph ablation
    scarce_search: DataSettings  # a shop with few searches: whether Swing helps where they say less
    variants: tuple[str, ...]  # rows of the network ablation, names in VARIANTS
    width: int = Field(default=64, ge=1)  # d of every encoder
    fan_outs: tuple[int, ...] = (10, 5)  # neighbors sampled at each hop
    recipe: Recipe = Recipe()
    sampled_recipe: Recipe = Recipe()  # of encoders that sample neighborhoods
    loss: LossSettings = LossSettings()
    negatives: NegativeSettings = NegativeSettings()
    losses: dict[str, LossSettings] = Field(default={})  # rows of the ablation of losses
    item2vec: Item2VecSettings = Item2VecSettings()
    lightgcn: LightGCNSettings = LightGCNSettings()
    pinsage: PinSageSettings = PinSageSettings()
    walks: int = Field(default=10, ge=1)  # from each node, of GraphSAGE's own positives; paper: 50
    tail: TailSettings = TailSettings()
    tail_rows: Literal["few", "all"] = "all"  # few: the rule of the digest and its control
    indices: tuple[AnyIndex, ...] = Field(min_length=1)
    index_results: int = Field(default=100, ge=1)  # of each query, that recall is about
    gallery: GallerySettings | None = None
    out_of_core: bool = False  # keep features in half precision on disk while training
    bootstrap: int = Field(default=1000, ge=100)  # resamples of the viewed items, 95 % interval

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        unknown = set(self.variants) - VARIANTS.keys()
        if unknown:
            raise ValueError(f"unknown variants {sorted(unknown)}; known: {', '.join(VARIANTS)}")
        if "V0" not in self.variants or self.data.main_graph not in self.graphs:
            raise ValueError("the ablations need V0 and the main graph, which others are held to")
        if self.gallery is not None and "movielens" not in {data.name for data in self.real}:
            raise ValueError("the gallery shows films, so it needs movielens among the real logs")
        return self
