"""The numbers of VideoSim."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class VideoSimSettings(BaseModel):
    """Sizes of the world and of its log; the constants of behavior stand with its rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Of baits, susceptibilities and the logging policy; never of a roll-out. Of a few seeds it is
    # the one that comes closest to the calibration.
    world_seed: int = 2
    components: PositiveInt = 16  # of content, that taste and satiation are about
    candidates: PositiveInt = 100  # of a request, drawn without replacement
    slate: PositiveInt = 5  # items shown
    longest: PositiveInt = 12  # requests of a session
    recent: PositiveInt = 20  # last clicked items that a recommender may read
    log_days: PositiveInt = 10
    outcome_days: PositiveInt = 20  # of the longer log that surrogates are learned from
    days: PositiveInt = 30  # of a roll-out
    accuracy: float = Field(default=0.5, ge=0, le=1)  # of the click logit behind the log
    sharpness: float = Field(default=0.5, gt=0)  # of the softmax over it
    exploration: float = Field(default=0.05, gt=0, lt=1)  # share of uniform requests
