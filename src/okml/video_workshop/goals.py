"""The settings of the theme of goals: what a recommender is trained for, and what comes of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from okml.video_workshop.policies.settings import ConstrainedSettings, ReinforceSettings
from okml.video_workshop.rankers.models import RankerKind
from okml.video_workshop.rankers.settings import RankerSettings
from okml.video_workshop.simulator.settings import VideoSimSettings

ClickModel = Literal["popularity", "regression"] | RankerKind


class GoalsSettings(BaseModel):
    """E3, E4 and E5, all of them in the simulator."""

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
