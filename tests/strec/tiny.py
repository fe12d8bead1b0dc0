"""A hand-made log in place of the real ones, and profiles small enough for a unit test."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel

from okml.data.logs import EVENT_SCHEMA, EventLog
from okml.strec.config import PROFILES
from okml.strec.settings import EfficiencySettings, NetworkSettings, StrecProfile

ITEMS, USERS, EVENTS = 24, 14, 72


def log(name: str) -> EventLog:
    """Return users who walk around a ring of items, most steps being one item forward."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        steps = rng.choice([1, 2, 5], p=[0.8, 0.1, 0.1], size=EVENTS)
        places = (rng.integers(ITEMS) + np.cumsum(steps)) % ITEMS
        gaps = rng.choice([0, 30, 4000, 90_000], size=EVENTS)
        times = 1_000_000_000 + np.cumsum(gaps)
        rows += [
            (f"u{user}", f"i{p}", int(t), "rating", 1.0) for p, t in zip(places, times, strict=True)
        ]
    frame = pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")
    titles = pl.DataFrame(
        {
            "item": [f"i{p}" for p in range(ITEMS)],
            "title": [f"Film {p}" for p in range(ITEMS)],
            "genres": [["Drama"] if p % 2 else ["Comedy", "War"] for p in range(ITEMS)],
        }
    )
    return EventLog(name, frame, 1, "made by hand", "none", titles=titles)


def changed(model: Any, **values: Any) -> Any:
    """Return a pydantic model with some fields replaced, validated again."""
    assert isinstance(model, BaseModel)
    return type(model).model_validate(dict(model) | values)


def tiny(name: str = "gpu", **values: Any) -> StrecProfile:
    """Return a profile with everything in it that its original has, at the smallest sizes."""
    profile = PROFILES[name]
    recipes = tuple(
        changed(
            recipe,
            warm_start_epochs=min(1, recipe.warm_start_epochs),
            relaxed_epochs=1,
            hard_epochs=1,
            batch=64,
            warm_start_batch=16,
            warmup_steps=0,
            evaluate_every=1 if recipe.evaluate_every else None,
        )
        for recipe in profile.recipes
    )
    datasets = tuple(
        changed(data, split="last_events", held_out=2, rows_per_user=3, least_user_events=None,
                least_item_events=None, validation_rows=8)
        for data in profile.datasets[:2]  # a third one of the same kind shows nothing more
    )  # fmt: skip
    efficiency = EfficiencySettings(
        batch=4, repeats=3, serving_batches=(1, 2), serving_calls=20, lengths=(16, 32), tokens=64
    )
    causal = changed(profile.causal, epochs=1, batch=16, heads=2, evaluate_every=1, patience=1)
    fields = {
        "seeds": (0, 1),
        "datasets": datasets,
        "recipes": recipes,
        "network": NetworkSettings(width=16, heads=2, hidden=32, layers=profile.network.layers),
        "causal": causal,
        "efficiency": efficiency,
        "noise_draws": 2,
        "attention_histories": 8,
        "relaxed_epoch_sweep": (0,),
        # The first of each kind; all have tests of their own in seqrec.
        "references": tuple(
            r for r in profile.references if r in ("gru4rec", "bert4rec", "mamba4rec")
        ),
        "mixers": tuple(m for m in profile.mixers if m in ("informer", "flash", "hstu")),
        "sweep": profile.sweep[3:6],
        "sweep_learned": profile.sweep_learned[-2:],
        "mixed_precision": "no",
        "compile": False,
        "device": "cpu",
    }
    return changed(profile, **(fields | values))
