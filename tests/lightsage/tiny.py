"""A profile with everything in it that the gpu profile has, at the smallest sizes."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from okml.lightsage.baselines.item2vec import Item2VecSettings
from okml.lightsage.baselines.lightgcn import LightGCNSettings
from okml.lightsage.baselines.pinsage import PinSageSettings
from okml.lightsage.config import PROFILES
from okml.lightsage.datasets import synthetic_shop
from okml.lightsage.graph.ablation import GRAPHS
from okml.lightsage.serving import FlatIndex, HnswIndex, IvfPqIndex
from okml.lightsage.settings import GallerySettings, LightsageProfile, TaskSettings
from okml.lightsage.shop import ShopSettings
from okml.lightsage.training.batches import NegativeSettings
from okml.lightsage.training.trainer import Hyperparameters
from tests.profiles import changed

FEW = ("popularity", "features", "swing", "item2vec")
SHOP = ShopSettings(items=200, leaves=4, users=200, sessions=2_000, rings=3, ring_items=10)


def films(seed=0):
    """Return a small shop in the place of MovieLens, with titles."""
    shop = synthetic_shop(SHOP, 7)
    titles = pl.concat_str(pl.lit("Film "), pl.col("item"))
    return replace(
        shop, name="ml_100k", synthetic=False, items=shop.items.with_columns(title=titles)
    )


def tiny(**values) -> LightsageProfile:
    """Return the profile."""
    gpu = PROFILES["gpu"]
    recipe = Hyperparameters(batch=64, steps=6, evaluate_every=3, patience=2)
    fields = {
        "seeds": (0,),
        "data": TaskSettings(
            name="synthetic", shop=SHOP, graph=gpu.data.graph, baselines=gpu.data.baselines
        ),
        "scarce_search": TaskSettings(
            name="synthetic", shop=changed(SHOP, p_search=0.04), graph=gpu.data.graph
        ),
        "in_view": TaskSettings(
            name="synthetic", shop=changed(SHOP, view_share=0.5), graph=gpu.data.graph
        ),
        "real": (
            TaskSettings(
                name="movielens", main_graph="strong + swing", test_pairs=150, baselines=FEW
            ),
        ),
        "graphs": GRAPHS,
        "width": 8,
        "fan_outs": (4, 3),
        "recipe": recipe,
        "negatives": NegativeSettings(count=16),
        "item2vec": Item2VecSettings(epochs=1),
        "lightgcn": LightGCNSettings(recipe=Hyperparameters(batch=64, steps=3)),
        "pinsage": PinSageSettings(walks=10, neighbors=4, hard_first=5, hard_last=10, hard=1),
        "walks": 2,
        "indices": (FlatIndex(), HnswIndex(), IvfPqIndex(code_bytes=4)),
        "index_results": 5,
        "index_items": 300,
        "rate_factors": (1.0,),
        "gallery": GallerySettings(titles=("Film 3", "Film 11"), shown=3),
        "device": "cpu",
    }
    return changed(gpu, **(fields | values))
