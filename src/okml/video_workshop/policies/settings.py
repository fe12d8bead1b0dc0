"""The settings of policies."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Correction = Literal["none", "importance", "capped"]


class PolicyNetworkSettings(BaseModel):
    """The softmax policy and its training; spec 3.5.1 and 4.7."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: PositiveInt = 16  # of the state and of item vectors
    epochs: PositiveInt = 3
    batch: PositiveInt = 512  # requests
    learning_rate: float = Field(default=1e-2, gt=0)
    days: PositiveInt = 10  # of the roll-out that says what a policy is worth


class ReinforceSettings(BaseModel):
    """E4: REINFORCE on a log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: PolicyNetworkSettings = PolicyNetworkSettings()
    gamma: float = Field(default=0.9, ge=0, lt=1)  # discount of later requests of a session
    cap: float = Field(default=20.085536923187668, gt=0)  # of ratios: e^3, as in production
    ks: tuple[PositiveInt, ...] = (1, 2, 5, 16)  # sizes of a list that the correction is for
    bandit_steps: PositiveInt = 3000  # of gradient ascent in the two simulations
    evaluation_cap: float = Field(default=10.0, gt=0)  # of ratios in off-policy evaluation
    least_effective: float = 50  # actions; below, no estimate is reported


class ConstrainedSettings(BaseModel):
    """E5: actor-critics with constraints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: PolicyNetworkSettings = PolicyNetworkSettings()
    log_days: PositiveInt = 5
    gamma: float = Field(default=0.9, ge=0, lt=1)  # of the main response
    auxiliary_gamma: float = Field(default=0.9, ge=0, lt=1)
    hidden: PositiveInt = 64  # of a critic, twice
    critic_epochs: PositiveInt = 4
    critic_learning_rate: float = Field(default=3e-3, gt=0)
    target_rate: float = Field(default=0.05, gt=0, le=1)  # step of the target network
    multipliers: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4)  # lambda of every constraint
    penalties: tuple[float, ...] = (0.1, 0.3, 1.0)  # lambda of RCPO
    ratio_cap: float = Field(default=10.0, gt=0)  # of ratios and of their products
    exponent_cap: float = Field(default=5.0, gt=0)  # of the advantage over Lambda
