"""The settings of the theme of goals: what a recommender is trained for, and what comes of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from okml.video_workshop.policies.settings import ConstrainedSettings, ReinforceSettings
from okml.video_workshop.rankers.models import RankerKind
from okml.video_workshop.rankers.settings import RankerSettings
from okml.video_workshop.simulator.settings import VideoSimSettings

ClickModel = Literal["popularity", "regression"] | RankerKind


class TrafficSettings(BaseModel):
    """E3 and E5 on impressions that were drawn at random, which judge everybody alike.

    The days of a log: the first ones train, in those between the strength of constraints is chosen,
    the last ones judge.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: PositiveInt = 12  # of the simulator's log
    exploration: float = Field(default=0.2, gt=0, lt=1)  # share of uniform requests in it
    train_days: PositiveInt = 5
    test_from: PositiveInt = 7  # first day that judges
    click_models: tuple[RankerKind, ...] = ("two_tower", "mlp", "transformer")
    several_goals: tuple[RankerKind, ...] = ("mmoe",)
    best_share: float = Field(default=0.2, gt=0, le=1)  # of a user's impressions: a ranker's first


class GoalsSettings(BaseModel):
    """E3, E4 and E5, in the simulator and on random traffic."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    simulator: VideoSimSettings = VideoSimSettings()
    ranker: RankerSettings = RankerSettings()
    held_out_days: PositiveInt = 2  # of another log, on which click models are judged
    click_models: tuple[ClickModel, ...] = (
        "popularity", "regression", "two_tower", "mlp", "transformer",
    )  # fmt: skip
    several_goals: tuple[RankerKind, ...] = ("mmoe", "transformer")  # with every seed
    extra_goals: tuple[RankerKind, ...] = ("mlp", "ple")  # mlp: shared bottom; a few seeds
    extra_seeds: int = Field(default=1, ge=0)  # of the profile's, for extras of all experiments
    oracle_seeds: PositiveInt = 3
    reinforce: ReinforceSettings = ReinforceSettings()
    constrained: ConstrainedSettings = ConstrainedSettings()
    traffic: TrafficSettings = TrafficSettings()
