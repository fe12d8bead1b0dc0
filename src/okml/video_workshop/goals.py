"""The settings of the theme of goals: objectives, policies and their evaluation."""

from __future__ import annotations

from typing import Literal

from okml.settings import (
    AtLeastOne,
    Count,
    Distinct,
    Fraction,
    Settings,
    Share,
    Whole,
    compared_once,
    rule,
)
from okml.video_workshop.policies.settings import ConstrainedSettings, ReinforceSettings
from okml.video_workshop.rankers.models import RankerKind
from okml.video_workshop.rankers.settings import RankerSettings
from okml.video_workshop.simulator.settings import VideoSimSettings

ClickModel = Literal["popularity", "regression"] | RankerKind


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
