"""The chapter at the smallest sizes, with every arm and alternative in it."""

from __future__ import annotations

from typing import Any

from okml.add.arms import ARMS
from okml.add.config import PROFILES
from okml.add.profile_settings import AddProfile

OTHERS = [name for name in ARMS if name != "default"]


def tiny(**changes: Any) -> AddProfile:
    """Return the smoke profile with trainings of a few steps."""
    few = {"steps": 4, "batch": 16}
    return PROFILES["smoke"].override(
        {
            "sets.0.channels": [16, 32],
            **{f"sets.0.teacher.{name}": value for name, value in few.items()},
            **{f"sets.0.metric.{name}": value for name, value in few.items()},
            **{f"sets.0.vit_training.{name}": value for name, value in few.items()},
            "sets.0.vit.width": 16,
            "sets.0.vit.depth": 1,
            "sets.0.vit.heads": 2,
            "sets.0.distillation.steps": 2,
            "sets.0.distillation.batch": 16,
            "sets.0.most_images": 200,
            "sets.0.samples": 30,
            "sets.0.watch": 1,
            "sets.0.arms": [],
            "sets.0.arms_once": OTHERS,
            "sets.0.teacher_steps": [1, 25],
            "sets.0.solver_steps": [4],
            "speed.batch": 4,
            "speed.teacher_steps": [1, 50],
            **changes,
        }
    )


def with_fashion(profile: AddProfile) -> AddProfile:
    """Return the profile with a second image set, of Fashion-MNIST by name."""
    first = profile.main.model_dump()
    few = {"arms_once": ["random_features"], "alternatives": [], "solver_steps": []}
    few |= {"eye": "efficientnet", "efficientnet_side": 32}
    return profile.override({"sets": [first, {**first, **few, "images": "fashion"}]})
