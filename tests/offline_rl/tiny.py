"""Logs made by hand in place of the real ones, and profiles small enough for a unit test."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel

from okml.data.logs import EVENT_SCHEMA, EventLog
from okml.offline_rl.config import PROFILES
from okml.offline_rl.settings import (
    ActorSettings,
    CriticSettings,
    FitSettings,
    OfflineRLProfile,
    StageSettings,
)

ITEMS, USERS, EVENTS = 18, 40, 14


def log(name: str) -> EventLog:
    """Return users who walk around a ring of items and like even ones."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        steps = rng.choice([1, 2, 5], p=[0.8, 0.1, 0.1], size=EVENTS)
        places = (rng.integers(ITEMS) + np.cumsum(steps)) % ITEMS
        times = 1_000_000_000 + np.cumsum(rng.choice([0, 30, 4000], size=EVENTS))
        shop = name != "ml_25m" and name != "ml_100k"
        for place, time in zip(places, times, strict=True):
            stars = 5.0 if place % 2 == 0 else 2.0
            kind = ("purchase" if place % 2 == 0 else "click") if shop else "rating"
            rows.append((f"u{user}", f"i{place}", int(time), kind, stars))
    return EventLog(
        name, pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row"), 1, "made by hand", "none"
    )


def changed(model: Any, **values: Any) -> Any:
    """Return a pydantic model with some fields replaced, validated again."""
    assert isinstance(model, BaseModel)
    return type(model).model_validate(dict(model) | values)


def stage(epochs: int) -> StageSettings:
    """Return an epoch or two."""
    return StageSettings(epochs=epochs, batch=32, learning_rate=3e-3)


def small_data(settings: Any, **values: Any) -> Any:
    """Return the data settings of a profile at the smallest sizes."""
    fields = {
        "length": 6,
        "least_item_events": None,
        "least_user_events": None,
        "users": None,
        "periods": None,
        "test_rows_per_user": 5,
        "validation_rows": 20,
        "actor": ActorSettings(width=8, layers=1, heads=2, attention_dropout=0.0),
        "critic": CriticSettings(width=8, hidden=8, count=settings.critic.count),
        "stage1": stage(1),
        "stage2": stage(1),
        "baseline": stage(1),
        "sasrec_width": 8,
        "caser_width": 8,
    }
    return changed(settings, **(fields | values))


def tiny(name: str = "gpu", **values: Any) -> OfflineRLProfile:
    """Return a profile with everything in it that its original has, at the smallest sizes."""
    profile = PROFILES[name]
    fields = {
        "seeds": (0,),
        "datasets": (small_data(profile.main),),
        "funnel": small_data(profile.funnel, length=19, users=100),
        "fit": FitSettings(rates=(1e-3, 1e-2), copies=(2,), epochs=2),
        "rollouts": 50,
        "ope_sessions": 80,
        "learning_rates": (1.0,),
        "start_epochs": (2,),
        "tie_epochs": (2,),
        "extra_arms": tuple(arm for arm in profile.extra_arms if arm != "distilgpt2_start"),
        "curve_evaluations": 1,
        "mixed_precision": "no",
        "compile": False,
        "device": "cpu",
    }
    return changed(profile, **(fields | values))
