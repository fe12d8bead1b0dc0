"""The settings of rankers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeadSettings(_Settings):
    """Sizes of multi-task heads; spec 4.6."""

    experts: PositiveInt = 4  # of MMoE
    expert_width: PositiveInt = 64
    tower_width: PositiveInt = 32
    layers: PositiveInt = 2  # of PLE
    own_experts: PositiveInt = 1  # of a task, in a layer of PLE
    shared_experts: PositiveInt = 1
    gate_dropout: float = Field(default=0.1, ge=0, lt=1)


class RankerSettings(_Settings):
    """A ranker and its training on a log of the simulator."""

    width: PositiveInt = 16  # of vectors of users and items
    layers: PositiveInt = 1  # of the transformer over clicks
    attention_heads: PositiveInt = 2
    heads: HeadSettings = HeadSettings()
    epochs: PositiveInt = 3
    batch: PositiveInt = 512  # requests
    learning_rate: float = Field(default=5e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
