"""The settings of the theme of goals: objectives, policies and their evaluation."""

from __future__ import annotations

from typing import Literal

from okml.settings import (
    AtLeastOne,
    BelowOne,
    Count,
    Depth,
    Fraction,
    LearningRate,
    NonNegative,
    Positive,
    Probability,
    Real,
    Settings,
    Share,
    Width,
    heads_divide,
    rule,
)
from okml.video_workshop.settings.users import MultiTaskHeadSettings

RankerKind = Literal["two_tower", "mlp", "mmoe", "transformer"]
ClickModel = Literal["popularity", "regression"] | RankerKind


class WorthSettings(Settings):
    """The ranges from which each world draws what a response adds to a user's good will.

    Clicks and watching have the same range, so in some of the worlds a perfect ranker of clicks
    keeps more users than a perfect ranker of watching; the step of the oracles counts them.
    """

    watch: tuple[Real, Real] = (-0.25, 0.75)
    click: tuple[Real, Real] = (-0.25, 0.75)
    like: tuple[Real, Real] = (0.0, 0.5)
    hate: tuple[Real, Real] = (-2.0, 0.0)

    _ranges = rule(
        lambda worth: all(low <= high for low, high in vars(worth).values()),
        "a range of worth has its lower end first",
    )


class VideoSimSettings(Settings):
    """Sizes of the world and of its log; the constants of behavior are in the modules.

    Each seed has a world of its own, so that intervals over seeds are intervals over worlds.
    """

    worth: WorthSettings = WorthSettings()
    # Click logit that an item loses for each unit of satiation with it: what the last clicks tell.
    weariness: NonNegative = 3.0
    # Chance that the next place of a slate is looked at, given that the one before it was.
    examined: Share = 0.85
    components: Count = 16  # components of content that taste and satiation see
    candidates: Count = 100  # candidates of a request, drawn without replacement
    slate: Count = 5  # items shown
    longest: Count = 12  # requests of a session
    recent: Count = 20  # last clicked items that a recommender may read
    log_days: Count = 10
    outcome_days: Count = 20  # days of the longer log that surrogates are fitted on
    days: Count = 30  # days of a roll-out
    accuracy: Probability = 0.5  # accuracy of the click logit behind the log
    sharpness: Positive = 0.5  # sharpness of the softmax over it
    exploration: Fraction = 0.05  # share of uniform requests

    _slate = rule(
        lambda world: world.slate <= world.candidates,
        "a slate of {slate} exceeds the {candidates} candidates of a request",
    )


class RankerSettings(Settings):
    """A ranker and its training on a log of the simulator."""

    width: Width = 16  # width of vectors of users and items
    layers: Depth = 1  # layers of the transformer over clicks
    attention_heads: Depth = 2
    heads: MultiTaskHeadSettings = MultiTaskHeadSettings()
    epochs: Count = 3
    batch: Count = 512  # requests
    learning_rate: LearningRate = 5e-3
    weight_decay: NonNegative = 1e-2

    _heads = heads_divide("attention_heads")


Correction = Literal["none", "importance", "capped"]


class PolicyNetworkSettings(Settings):
    """The softmax policy and its training."""

    width: Width = 16  # width of the state and of item vectors
    epochs: Count = 3
    batch: Count = 512  # requests
    learning_rate: LearningRate = 1e-2
    days: Count = 10  # days of the roll-out that evaluates a policy


class ReinforceSettings(Settings):
    """REINFORCE on a log, with off-policy corrections."""

    network: PolicyNetworkSettings = PolicyNetworkSettings()
    gamma: BelowOne = 0.9  # discount of later requests of a session
    cap: Positive = 20.085536923187668  # the largest ratio: e^3, as in production
    evaluation_cap: Positive = 10.0  # the largest ratio in off-policy evaluation
    least_effective: NonNegative = 50  # actions; below, no estimate is reported


class ConstrainedSettings(Settings):
    """Actor-critics with constraints."""

    network: PolicyNetworkSettings = PolicyNetworkSettings()
    log_days: Count = 5
    gamma: BelowOne = 0.9  # discount of the main response
    auxiliary_gamma: BelowOne = 0.9
    hidden: Width = 64  # width of a critic's two hidden layers
    critic_epochs: Count = 4
    critic_learning_rate: LearningRate = 3e-3
    target_rate: Share = 0.05  # step of the target network
    multipliers: AtLeastOne[Positive] = (1e-1, 1e-2, 1e-3, 1e-4)  # lambda of every constraint
    penalty: Positive = 0.3  # lambda of RCPO
    ratio_cap: Positive = 10.0  # the largest ratio, and product of ratios
    exponent_cap: Positive = 5.0  # the largest advantage over Lambda, either way


class TrafficSettings(Settings):
    """Rankers and policies on random impressions, which are unbiased for every ranker.

    The first days of a log train, the middle ones choose the strength of constraints, the last ones
    evaluate.
    """

    days: Count = 12  # days of the simulator's log
    exploration: Fraction = 0.2  # share of uniform requests in it
    train_days: Count = 5
    test_from: Count = 7  # first day of the evaluation
    click_models: AtLeastOne[RankerKind] = ("two_tower", "mlp", "transformer")
    several_goals: AtLeastOne[RankerKind] = ("mmoe",)
    best_share: Share = 0.2  # share of a user's impressions that counts as a ranker's top

    _between = rule(
        lambda traffic: traffic.train_days < traffic.test_from,
        "no day lies between train_days {train_days} and test_from {test_from}",
    )


class GoalsSettings(Settings):
    """The experiments on objectives, in the simulator and on random traffic."""

    simulator: VideoSimSettings = VideoSimSettings()
    ranker: RankerSettings = RankerSettings()
    held_out_days: Count = 2  # days of another log, which evaluates click models
    click_models: AtLeastOne[ClickModel] = (
        "popularity", "regression", "two_tower", "mlp", "transformer",
    )  # fmt: skip
    several_goals: AtLeastOne[RankerKind] = ("mmoe",)  # the first is that of the claims
    # Worlds of all experiments in the simulator: one for each seed, and further ones up to this.
    worlds: Count = 1
    oracle_worlds: Count = 10  # worlds in which oracles are rolled out
    reinforce: ReinforceSettings = ReinforceSettings()
    constrained: ConstrainedSettings = ConstrainedSettings()
    traffic: TrafficSettings = TrafficSettings()
