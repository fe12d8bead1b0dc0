"""The settings of policies."""

from __future__ import annotations

from typing import Literal

from okml.settings import (
    AtLeastOne,
    BelowOne,
    Count,
    LearningRate,
    NonNegative,
    Positive,
    Settings,
    Share,
    Width,
)

Correction = Literal["none", "importance", "capped"]


class PolicyNetworkSettings(Settings):
    """The softmax policy and its training; spec 3.5.1 and 4.7."""

    width: Width = 16  # of the state and of item vectors
    epochs: Count = 3
    batch: Count = 512  # requests
    learning_rate: LearningRate = 1e-2
    days: Count = 10  # of the roll-out that evaluates a policy


class ReinforceSettings(Settings):
    """E4: REINFORCE on a log."""

    network: PolicyNetworkSettings = PolicyNetworkSettings()
    gamma: BelowOne = 0.9  # discount of later requests of a session
    cap: Positive = 20.085536923187668  # of ratios: e^3, as in production
    ks: AtLeastOne[Count] = (1, 2, 5, 16)  # list sizes K of the top-K correction
    bandit_steps: Count = 3000  # of gradient ascent in the two simulations
    evaluation_cap: Positive = 10.0  # of ratios in off-policy evaluation
    least_effective: NonNegative = 50  # actions; below, no estimate is reported


class ConstrainedSettings(Settings):
    """E5: actor-critics with constraints."""

    network: PolicyNetworkSettings = PolicyNetworkSettings()
    log_days: Count = 5
    gamma: BelowOne = 0.9  # of the main response
    auxiliary_gamma: BelowOne = 0.9
    hidden: Width = 64  # of a critic, twice
    critic_epochs: Count = 4
    critic_learning_rate: LearningRate = 3e-3
    target_rate: Share = 0.05  # step of the target network
    multipliers: AtLeastOne[Positive] = (1e-1, 1e-2, 1e-3, 1e-4)  # lambda of every constraint
    penalties: AtLeastOne[Positive] = (0.1, 0.3, 1.0)  # lambda of RCPO
    ratio_cap: Positive = 10.0  # of ratios and of their products
    exponent_cap: Positive = 5.0  # of the advantage over Lambda
