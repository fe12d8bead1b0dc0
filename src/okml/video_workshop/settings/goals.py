"""The settings of the theme of goals: objectives, policies and their evaluation."""

from __future__ import annotations

from typing import Literal

from okml.settings import (
    AtLeastOne,
    BelowOne,
    Count,
    Depth,
    Distinct,
    Fraction,
    LearningRate,
    NonNegative,
    Positive,
    Probability,
    Seed,
    Settings,
    Share,
    Whole,
    Width,
    compared_once,
    heads_divide,
    rule,
)
from okml.video_workshop.settings.users import MultiTaskHeadSettings

RankerKind = Literal["two_tower", "mlp", "mmoe", "ple", "transformer"]
ClickModel = Literal["popularity", "regression"] | RankerKind


class VideoSimSettings(Settings):
    """Sizes of the world and of its log; the constants of behavior are in the modules."""

    # Seed of baits, susceptibilities and the noise of the logging policy, not of roll-outs. All
    # seeds of a run share one world, so intervals do not cover its variation.
    world_seed: Seed = 2
    components: Count = 16  # of content, for taste and satiation
    candidates: Count = 100  # of a request, drawn without replacement
    slate: Count = 5  # items shown
    longest: Count = 12  # requests of a session
    recent: Count = 20  # last clicked items that a recommender may read
    log_days: Count = 10
    outcome_days: Count = 20  # of the longer log that surrogates are fitted on
    days: Count = 30  # of a roll-out
    accuracy: Probability = 0.5  # of the click logit behind the log
    sharpness: Positive = 0.5  # of the softmax over it
    exploration: Fraction = 0.05  # share of uniform requests

    _slate = rule(
        lambda world: world.slate <= world.candidates,
        "a slate of {slate} exceeds the {candidates} candidates of a request",
    )


class RankerSettings(Settings):
    """A ranker and its training on a log of the simulator."""

    width: Width = 16  # of vectors of users and items
    layers: Depth = 1  # of the transformer over clicks
    attention_heads: Depth = 2
    heads: MultiTaskHeadSettings = MultiTaskHeadSettings()
    epochs: Count = 3
    batch: Count = 512  # requests
    learning_rate: LearningRate = 5e-3
    weight_decay: NonNegative = 1e-2

    _heads = heads_divide("attention_heads")


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


class TrafficSettings(Settings):
    """E3 and E5 on random impressions, which are unbiased for every ranker.

    The first days of a log train, the middle ones choose the strength of constraints, the last ones
    evaluate.
    """

    days: Count = 12  # of the simulator's log
    exploration: Fraction = 0.2  # share of uniform requests in it
    train_days: Count = 5
    test_from: Count = 7  # first day of the evaluation
    click_models: AtLeastOne[RankerKind] = ("two_tower", "mlp", "transformer")
    several_goals: AtLeastOne[RankerKind] = ("mmoe",)
    best_share: Share = 0.2  # of a user's impressions, a ranker's top

    _between = rule(
        lambda traffic: traffic.train_days < traffic.test_from,
        "no day lies between train_days {train_days} and test_from {test_from}",
    )


class GoalsSettings(Settings):
    """E3, E4 and E5, in the simulator and on random traffic."""

    simulator: VideoSimSettings = VideoSimSettings()
    ranker: RankerSettings = RankerSettings()
    held_out_days: Count = 2  # of another log, which evaluates click models
    click_models: AtLeastOne[ClickModel] = (
        "popularity", "regression", "two_tower", "mlp", "transformer",
    )  # fmt: skip
    several_goals: AtLeastOne[RankerKind] = ("mmoe", "transformer")  # with every seed
    extra_goals: Distinct[RankerKind] = ("mlp", "ple")  # mlp: shared bottom; a few seeds
    extra_seeds: Whole = 1  # of the profile's, for extras of all experiments
    oracle_seeds: Count = 3
    reinforce: ReinforceSettings = ReinforceSettings()
    constrained: ConstrainedSettings = ConstrainedSettings()
    traffic: TrafficSettings = TrafficSettings()

    _once = compared_once("several_goals", "extra_goals")
