"""The settings of the chapter."""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from okml.lightsage.baselines.item2vec import Item2VecSettings
from okml.lightsage.baselines.lightgcn import LightGCNSettings
from okml.lightsage.baselines.pinsage import PinSageSettings
from okml.lightsage.graph import GraphSettings
from okml.lightsage.graph.ablation import GraphName
from okml.lightsage.network.encoder import VARIANTS
from okml.lightsage.serving import AnyIndex, IvfPqIndex
from okml.lightsage.shop import ShopSettings
from okml.lightsage.training.batches import NegativeSettings
from okml.lightsage.training.losses import LossSettings
from okml.lightsage.training.trainer import Hyperparameters
from okml.profile import Profile
from okml.settings import (
    AtLeastOne,
    Count,
    Distinct,
    Fraction,
    Positive,
    Probability,
    Settings,
    Text,
    Width,
    one_of,
)

VariantName = Annotated[str, one_of("variant of the network", lambda: VARIANTS)]
DataName = Literal["synthetic", "movielens", "diginetica", "complete_journey", "coveo"]
BaselineName = Literal[
    "random", "popularity", "popularity in category", "features", "cosine", "swing", "item2vec",
    "lightgcn users", "lightgcn items", "trained features", "sign", "graphsage",
    "graphsage's own loss", "pinsage",
]  # fmt: skip


class TaskSettings(Settings):
    """One shop with its graph and its protocol, and what is compared with LightSAGE on it."""

    name: DataName
    shop: ShopSettings = ShopSettings()  # the synthetic shop, which each seed draws anew
    train_weeks: Count | None = None  # weeks of diginetica in training; None: all before the test
    whole: bool = True  # whether files of coveo with fewer rows than published are refused
    graph: GraphSettings = GraphSettings()
    tail_clicks: Count = 8  # T: items with fewer in training are the tail
    test_pairs: Count | None = None  # largest number of test pairs, drawn at random; None: all
    valid_pairs: Count | None = None  # largest number of validation pairs; None: all
    # The graph of all arms outside the graph ablation.
    main_graph: GraphName = "full"
    baselines: Distinct[BaselineName] = ()  # what LightSAGE is held to
    item_vectors: bool = True  # whether LightSAGE is compared with learned item vectors, too
    graphs: Distinct[GraphName] = ()  # graphs of a real log, beside the main one, for LightSAGE

    @property
    def seeded(self) -> bool:
        """Whether the seed draws the log, or the axes of its item vectors."""
        return self.name in ("synthetic", "diginetica")

    @property
    def key(self) -> str:
        """Name of its folder, unique to shop and protocol."""
        protocol = self.model_dump_json(exclude={"baselines", "item_vectors", "graphs"})
        digest = hashlib.sha256(protocol.encode()).hexdigest()
        return f"{self.name}_{digest[:8]}"


class TailSettings(Settings):
    """The grouping and serving of tail items."""

    group_size: Count = 12  # most members
    large_size: Count = 48  # most members of the larger groups that one of the arms serves
    blend: Probability = 0.1  # share of the own vector, λ
    hidden_share: Fraction = 0.1  # share of rows whose neighborhood one of the arms hides


class GallerySettings(Settings):
    """Items whose related items are shown."""

    titles: AtLeastOne[Text]  # beginnings of titles in MovieLens
    shown: Count = 6


class LightsageProfile(Profile):
    """All settings of the chapter ``lightsage``."""

    chapter: ClassVar[str] = "lightsage"

    data: TaskSettings  # the shop of the ablations
    real: Distinct[TaskSettings] = ()  # real logs
    graphs: AtLeastOne[GraphName]  # rows of the graph ablation
    scarce_search: TaskSettings | None = None  # a shop with few searches, for the gain of Swing
    in_view: TaskSettings | None = None  # a shop whose feed, too, follows the item in view
    variants: AtLeastOne[VariantName]  # rows of the network ablation
    width: Width = 64  # d of every encoder
    fan_outs: tuple[Count, ...] = Field(default=(10, 5), min_length=1)  # neighbors at each hop
    recipe: Hyperparameters = Hyperparameters()  # the same for all encoders: equal budgets
    # Factors of every training's learning rate; validation with the first seed chooses one an arm.
    rate_factors: AtLeastOne[Positive] = (1.0,)
    loss: LossSettings = LossSettings()
    negatives: NegativeSettings = NegativeSettings()
    losses: dict[Text, LossSettings] = Field(default={})  # rows of the ablation of losses
    item2vec: Item2VecSettings = Item2VecSettings()
    lightgcn: LightGCNSettings = LightGCNSettings()
    pinsage: PinSageSettings = PinSageSettings()
    walks: Count = 10  # walks from each node, for GraphSAGE's own positives; paper: 50
    tail: TailSettings = TailSettings()
    tail_rows: Literal["few", "all"] = "all"  # few: only the digest's rule and its controls
    indices: AtLeastOne[AnyIndex]
    index_results: Count = 100  # results of each query that recall counts
    index_items: Count | None = None  # items of one more, larger index; None: there is none
    gallery: GallerySettings | None = None

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if not {"V0", "V5"} <= set(self.variants) or self.data.main_graph not in self.graphs:
            raise ValueError(
                "the ablations need V0, V5 and the main graph, which others are held to"
            )
        if self.gallery is not None and "movielens" not in {data.name for data in self.real}:
            raise ValueError("the gallery shows films, so it needs movielens among the real logs")
        if "V0" in self.losses:
            raise ValueError("V0 has the profile's own loss; give another one another name")
        for index in self.indices:
            if isinstance(index, IvfPqIndex) and self.width % index.code_bytes:
                raise ValueError(
                    f"vectors of width {self.width} cannot be cut into {index.code_bytes} codes"
                )
        return self
