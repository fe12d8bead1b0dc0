"""The four profiles of the chapter."""

from __future__ import annotations

from typing import get_args

from okml.lightsage.baselines.item2vec import Item2VecSettings
from okml.lightsage.baselines.lightgcn import LightGCNSettings
from okml.lightsage.baselines.pinsage import PinSageSettings
from okml.lightsage.graph import GraphSettings, MergeSettings, StrongSettings, SwingSettings
from okml.lightsage.graph.ablation import GRAPHS, GraphName
from okml.lightsage.serving import FlatIndex, HnswIndex, IvfPqIndex
from okml.lightsage.settings import (
    BaselineName,
    GallerySettings,
    LightsageProfile,
    TailSettings,
    TaskSettings,
)
from okml.lightsage.shop import ShopSettings
from okml.lightsage.training.batches import NegativeSettings
from okml.lightsage.training.losses import LossSettings
from okml.lightsage.training.trainer import Hyperparameters
from okml.profile import Budget, by_name

_FILMS = ("Star Wars", "Toy Story", "Pulp Fiction", "Casablanca")
_ALL = get_args(BaselineName)
_FILMS_BASELINES: tuple[BaselineName, ...] = ("popularity", "features", "cosine", "swing")
_SHORT: tuple[BaselineName, ...] = (
    "popularity", "popularity in category", "features", "cosine", "swing", "item2vec",
    "trained features", "graphsage",  # rows of the ablation of networks, trained there already
)  # fmt: skip
_WITHOUT_USERS = tuple(name for name in _ALL if name != "lightgcn users")
_WITHOUT_CATEGORIES = tuple(name for name in _ALL if name != "popularity in category")
# The night goes without chance, and without a loss of GraphSAGE's that teaches it little.
_NIGHTLY = tuple(name for name in _ALL if name not in ("random", "graphsage's own loss"))
_SESSIONS = tuple(n for n in _NIGHTLY if n not in ("popularity in category", "lightgcn users"))
# The graphs of a log without searches, whose main graph is "strong + swing".
_WITHOUT_SWING: tuple[GraphName, ...] = ("strong", "full, cosine for swing")
_INDICES = (FlatIndex(), HnswIndex(), IvfPqIndex())
_LOSSES = {
    "no log q": LossSettings(log_q="none"),
    "refined log q": LossSettings(log_q="refined"),
    "hinge (PinSage's)": LossSettings(name="hinge"),
    "BPR": LossSettings(name="bpr"),
}

_SMALL = ShopSettings(items=2_000, leaves=10, users=2_000, sessions=10_000, rings=10)
_SCARCE = TaskSettings(name="synthetic", shop=ShopSettings(p_search=0.04))
_IN_VIEW = TaskSettings(name="synthetic", shop=ShopSettings(view_share=0.5))

SMOKE = LightsageProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    data=TaskSettings(
        name="synthetic",
        shop=_SMALL,
        baselines=("popularity", "features", "swing", "trained features", "graphsage"),
    ),
    scarce_search=TaskSettings(
        name="synthetic", shop=_SMALL.model_copy(update={"p_search": 0.04})
    ),
    in_view=TaskSettings(name="synthetic", shop=_SMALL.model_copy(update={"view_share": 0.5})),
    real=(
        TaskSettings(
            name="movielens", main_graph="strong + swing", test_pairs=2_000, valid_pairs=2_000,
            baselines=("popularity", "features", "swing"),
        ),
    ),
    graphs=("weak", "weak, as few edges", "weak, few of each item", "strong", "strong + swing",
            "strong + search", "strong + shuffled search", "full"),
    variants=("V0", "V4", "V5"),
    recipe=Hyperparameters(steps=80, schedule="constant", evaluate_every=8, patience=5),
    tail_rows="few",
    indices=_INDICES,
    gallery=GallerySettings(titles=_FILMS[:2], shown=5),
)  # fmt: skip

CPU = LightsageProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=1),
    seeds=(0, 1, 2, 3, 4),
    data=TaskSettings(name="synthetic", baselines=_SHORT),
    scarce_search=_SCARCE,
    real=(
        TaskSettings(name="movielens", main_graph="strong + swing", baselines=_FILMS_BASELINES),
        # The newest weeks only, and no learned item vectors, to save time.
        TaskSettings(
            name="diginetica", main_graph="strong + swing", tail_clicks=5, train_weeks=4,
            test_pairs=2_000, valid_pairs=1_500, item_vectors=False,
            baselines=("popularity", "features", "cosine", "swing", "item2vec"),
        ),
    ),
    # Slow arms and the shop whose feed follows the item are in larger profiles only.
    graphs=tuple(name for name in GRAPHS if name != "everything"),
    variants=("V0", "V4", "V5"),
    # Each training keeps the weights of its best validation, which most have early, and ends once
    # half of its steps bring no better one.
    recipe=Hyperparameters(steps=200, schedule="constant", evaluate_every=20, patience=5),
    losses={"no log q": _LOSSES["no log q"]},
    tail=TailSettings(large_size=24),  # a type has at most about forty items in the tail
    # A small log has few pairs, hence many epochs, a high rate and little subsampling.
    item2vec=Item2VecSettings(epochs=20, learning_rate=0.1, subsample=1e-3),
    indices=_INDICES,
    gallery=GallerySettings(titles=_FILMS),
)  # fmt: skip

# The largest logs that package indexes hold. Every training may take the same steps at a
# constant rate, is validated ten times, keeps its best weights, and ends once half of its steps
# bring no better ones; two rates are tried for each.
_NIGHT_RECIPE = Hyperparameters(
    steps=1_600, schedule="constant", evaluate_every=160, patience=5
)  # fmt: skip

NIGHT = LightsageProfile(
    name="night",
    budget=Budget(minutes=90, memory_gib=12, disk_gib=4),
    seeds=(0, 1, 2),
    # A year of baskets with product attributes and promotions. Nobody searches or opens pages in
    # it, so strong edges are purchases of one order, and neither weak nor search edges exist.
    data=TaskSettings(
        # One pair in twenty has a new product, and the tail's claims are about these.
        name="complete_journey", tail_clicks=5, test_pairs=6_000, valid_pairs=1_500,
        graph=GraphSettings(
            strong=StrongSettings(rules=("same_order",)),
            swing=SwingSettings(over="session", most_item_users=500),
        ),
        # A household is a user, and a basket is a session.
        baselines=_NIGHTLY,
    ),
    in_view=_IN_VIEW,
    real=(
        TaskSettings(name="movielens", main_graph="strong + swing", baselines=_FILMS_BASELINES),
        TaskSettings(
            # A sixth of the week's pairs: the gaps of its arms are small.
            name="diginetica", main_graph="strong + swing", tail_clicks=5, test_pairs=10_000,
            valid_pairs=1_500, baselines=_SESSIONS, graphs=_WITHOUT_SWING,
        ),
    ),
    graphs=("strong + search", "full", "full, cosine for swing"),
    variants=("V0", "V4", "V5"),
    recipe=_NIGHT_RECIPE,
    rate_factors=(0.3, 1.0),
    # Ten epochs are ten validations; the paper's rate is near the lower of the two that are tried.
    # All pairs of a large basket would take longer than all other rivals together. Baskets are
    # shuffled, so a narrow window draws some of them at random.
    item2vec=Item2VecSettings(epochs=10, learning_rate=0.1, schedule="constant", window=5),
    # Vectors of ids learn more slowly than a network of features, so LightGCN sees five times the
    # pairs. A step's time is that of the whole graph, whatever its batch.
    lightgcn=LightGCNSettings(
        recipe=Hyperparameters(
            batch=8_192, steps=500, learning_rate=1e-2, weight_decay=0, schedule="constant",
            evaluate_every=50,
        )
    ),
    tail_rows="few",
    indices=_INDICES,
    index_items=300_000,
    gallery=GallerySettings(titles=_FILMS),
)  # fmt: skip

# Coveo has graded actions, queries with clicks, item vectors and a tail.
_LARGE = GraphSettings(
    swing=SwingSettings(
        least_user_items=2, most_user_items=500, most_item_users=1_000, most_neighbors=50
    ),
    merge=MergeSettings(most_neighbors=30),
)
# Each training runs to its end and keeps the weights of its best validation. It is in float32: the
# vectors are scored for validation, and in bfloat16 cosines near one are equal up to .004, so that
# ties would choose weights, rates and rivals. The products are small.
_GPU_RECIPE = Hyperparameters(
    batch=8_192, steps=20_000, learning_rate=1e-3, warmup_steps=500, schedule="constant",
    evaluate_every=1_000,
)  # fmt: skip

GPU = LightsageProfile(
    name="gpu",
    budget=Budget(minutes=48 * 60, memory_gib=96, disk_gib=60, gpu_memory_gib=80),
    seeds=(0, 1, 2, 3, 4),
    # Coveo's sessions are anonymous, so LightGCN has no users.
    data=TaskSettings(name="coveo", graph=_LARGE, tail_clicks=5, baselines=_WITHOUT_USERS),
    scarce_search=_SCARCE,
    in_view=_IN_VIEW,
    real=(
        TaskSettings(
            name="movielens", main_graph="strong + swing",
            baselines=("random", *_FILMS_BASELINES, "item2vec", "lightgcn users"),
        ),
        TaskSettings(
            name="diginetica", graph=_LARGE, main_graph="strong + swing", tail_clicks=5,
            baselines=_WITHOUT_CATEGORIES, graphs=_WITHOUT_SWING,
        ),
    ),
    graphs=GRAPHS,
    variants=("V0", "V1", "V2", "V3", "V4", "V5", "V6"),
    width=128,
    recipe=_GPU_RECIPE,
    negatives=NegativeSettings(count=2_048),
    losses=_LOSSES,
    rate_factors=(0.3, 1.0),
    item2vec=Item2VecSettings(learning_rate=0.1, schedule="constant"),
    lightgcn=LightGCNSettings(
        recipe=Hyperparameters(
            batch=8_192, steps=20_000, learning_rate=1e-3, weight_decay=0, schedule="constant",
            evaluate_every=1_000,
        )
    ),
    # A node gets as many visits as its hard negatives need ranks.
    pinsage=PinSageSettings(neighbors=30, walks=500, hard_first=200, hard_last=1_000, hard=2),
    walks=50,
    indices=(FlatIndex(), HnswIndex(), IvfPqIndex(code_bytes=64, probes=32)),
    index_items=1_000_000,
    gallery=GallerySettings(titles=_FILMS),
)  # fmt: skip

PROFILES = by_name(SMOKE, CPU, NIGHT, GPU)
