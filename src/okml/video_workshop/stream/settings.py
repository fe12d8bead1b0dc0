"""The settings of the experiments on streams."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from okml.seqrec.losses import ChunkedSoftmaxSettings
from okml.video_workshop.users.settings import UserModelSettings


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamTrainingSettings(_Settings):
    """How recommenders are trained and updated; all strategies share it."""

    model: UserModelSettings = UserModelSettings(length=50, width=32, layers=2, heads=2)
    loss: ChunkedSoftmaxSettings = ChunkedSoftmaxSettings()  # over the items that exist
    batch: PositiveInt = 64  # windows
    learning_rate: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(default=0.01, ge=0)  # of matrices, not of item rows
    gradient_clip: float = Field(default=1.0, gt=0)
    mixed_precision: Literal["no", "bf16"] = "no"

    base_epochs: PositiveInt = 12  # of the base model and of every retraining
    update_epochs: PositiveInt = 3  # of an update, over the events of one period
    update_rate: float = Field(default=0.5, gt=0)  # factor of the learning rate in updates
