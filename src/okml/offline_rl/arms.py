"""The compared recommenders, and the trainings that each table needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from okml.training.rates import search

if TYPE_CHECKING:
    from okml.offline_rl.settings import LogSettings, OfflineRLProfile

Model = Literal["transformer", "sasrec", "caser"]
Method = Literal["next_item", "clone", "crr", "sqn", "sac", "reinforce", "return_conditioned"]

STAGE1 = "transformer_only"  # the arm that is stage 1 alone
CONTROL = "bc_continue"  # the arm that continues stage 1 with the supervised loss


@dataclass(frozen=True)
class Arm:
    """One recommender of the comparison.

    Attributes:
        label: The name in figures and tables.
        from_stage1: Whether it starts from the pre-trained transformer and trains for the epochs
            of stage 2. Others start from random weights and train for the epochs of both stages at
            most, so that no arm may see more targets than another.
        changes: The settings of CRR that differ from the profile's, for methods with Q.
        tuned_as: The arm whose learning rate it has; empty for one of its own.
        weights: The weights of logged actions, for ``clone``; ``right`` needs the simulator's log.
        loss: The loss over items, for ``next_item``.
        language_weights: Whether the blocks start from DistilGPT2's weights.
    """

    name: str
    label: str
    method: Method = "next_item"
    model: Model = "transformer"
    from_stage1: bool = True
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tuned_as: str = ""
    weights: Literal["equal", "reward", "wanted", "right"] = "equal"
    loss: Literal["softmax", "binary"] = "softmax"
    language_weights: bool = False


_BINARY = {"filter": "binary"}

ARMS = {
    arm.name: arm
    for arm in (
        Arm(STAGE1, "stage 1 alone", from_stage1=False),
        Arm(
            "distilgpt2_start", "stage 1 from language weights", from_stage1=False,
            language_weights=True,
        ),
        Arm(CONTROL, "stage 2, all weights one", "clone"),
        Arm("reward_bc", "reward as weight", "clone", weights="reward"),
        Arm("filter_bc", "wanted events only", "clone", weights="wanted"),
        Arm("right_bc", "right actions only", "clone", weights="right"),
        Arm("crr", "two stages (CRR)", "crr"),
        Arm("crr_beta1", "CRR, β = 1", "crr", changes={"filter": "exp", "beta": 1.0}),
        Arm("crr_binary", "CRR, binary", "crr", changes=_BINARY),
        Arm(
            "crr_dealt", "CRR, weights at random", "crr", changes={"dealt": True}, tuned_as="crr",
        ),
        Arm(
            "crr_binary_dealt", "CRR, binary, weights at random", "crr",
            changes=_BINARY | {"dealt": True}, tuned_as="crr_binary",
        ),
        Arm("crr_gamma0", "CRR, γ = 0", "crr", changes={"gamma": 0.0}),
        Arm("crr_binary_gamma0", "CRR, binary, γ = 0", "crr", changes=_BINARY | {"gamma": 0.0}),
        Arm("crr_mean", "CRR, mean of 4", "crr", changes={"baseline": "mean"}),
        Arm("crr_max", "CRR, max of 4", "crr", changes={"baseline": "max"}),
        Arm("crr_target_policy", "CRR, target policy", "crr", changes={"next_action": "target"}),
        Arm("crr_sarsa", "CRR, logged next action", "crr", changes={"next_action": "logged"}),
        Arm("crr_cql", "CRR with CQL's term", "crr", changes={"conservative": 1.0}),
        Arm("crr_only", "CRR alone", "crr", from_stage1=False),
        Arm("crr_only_binary", "CRR alone, binary", "crr", from_stage1=False, changes=_BINARY),
        Arm("sqn", "SQN", "sqn"),
        Arm("sac", "SAC", "sac"),
        Arm("topk_reinforce", "top-K REINFORCE", "reinforce"),
        Arm("decision_transformer", "decision transformer", "return_conditioned"),
        Arm("sasrec_bce", "SASRec, 1 negative", model="sasrec", from_stage1=False, loss="binary"),
        Arm("sasrec_ce", "SASRec, full softmax", model="sasrec", from_stage1=False),
        Arm("caser_bce", "Caser, 3 targets", model="caser", from_stage1=False, loss="binary"),
        Arm("caser_ce", "Caser, full softmax", model="caser", from_stage1=False),
    )
}  # fmt: skip


# The settings of CRR on which the values of a fixed policy depend.
OF_VALUES = ("gamma", "next_action", "conservative")


@dataclass(frozen=True)
class CriticJob:
    """One fit of critics to the actor of stage 1.

    Attributes:
        seed: The seed of weights and order, and that of the actor.
        stage1_epochs: The epochs of stage 1; None for the log's.
        changes: Names and values of the settings of values that differ from the profile's.
        on_returns: Whether the critics are regressed on logged returns, as a reference, instead of
            being trained by temporal differences.
        rate: The learning rate; None for that with the least mean error over seeds.
        copies: The steps between copies to the target networks; None as for the rate, and for
            regression, which has no target networks.
    """

    data: LogSettings
    seed: int
    stage1_epochs: int | None = None
    changes: tuple[tuple[str, Any], ...] = ()
    on_returns: bool = False
    rate: float | None = None
    copies: int | None = None

    @property
    def name(self) -> str:
        """The name, without log and seed."""
        kind = "regression on returns" if self.on_returns else "critics"
        changes = [f"{name} {value}" for name, value in self.changes]
        after = [] if self.stage1_epochs is None else [f"after {self.stage1_epochs}"]
        tried = [] if self.rate is None else [f"rate {self.rate:g}, copies {self.copies}"]
        return ", ".join([kind, *changes, *after, *tried])

    @property
    def stage1(self) -> Job:
        """The training of the actor."""
        return Job(self.data, STAGE1, self.seed, self.stage1_epochs)

    def chooser(self, profile: OfflineRLProfile) -> CriticJob:
        """Return the fit, of the first seed, whose search sets rate and copies of this one.

        It is to the actor of the log's stage 1. Only a discount of its own has a search of its own,
        since values are on another scale with it.
        """
        gamma = tuple(change for change in self.changes if change[0] == "gamma")
        return CriticJob(self.data, profile.seeds[0], None, gamma, self.on_returns)

    def copies_to_try(self, profile: OfflineRLProfile) -> tuple[int | None, ...]:
        """Return the numbers of steps between copies that a search tries."""
        return (None,) if self.on_returns else profile.fit.copies


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        arm: The name of the arm.
        seed: The seed of weights, order and dropout.
        stage1_epochs: The epochs of stage 1, by itself or before stage 2; None for the log's.
        rate: The factor of the learning rates; None for that with the best mean validation over
            seeds.
    """

    data: LogSettings
    arm: str
    seed: int
    stage1_epochs: int | None = None
    rate: float | None = None

    @property
    def name(self) -> str:
        """The name of the arm, with the epochs of stage 1 if they are not the log's."""
        if self.stage1_epochs is None:
            return self.arm
        return f"{self.arm}{' after' if ARMS[self.arm].from_stage1 else ''} {self.stage1_epochs}"

    @property
    def stage1(self) -> Job:
        """The training of stage 1 that this one starts from."""
        return Job(self.data, STAGE1, self.seed, self.stage1_epochs)

    def further_rates(self, profile: OfflineRLProfile) -> int:
        """Return how many further rates its search may try."""
        if ARMS[self.arm].from_stage1:
            return profile.further_stage2_rates
        return profile.further_rates

    @property
    def critics(self) -> CriticJob:
        """The fit of critics that CRR starts from."""
        changes = ARMS[self.arm].changes.items()
        of_values = tuple((name, value) for name, value in changes if name in OF_VALUES)
        return CriticJob(self.data, self.seed, self.stage1_epochs, of_values)

    def chooser(self, profile: OfflineRLProfile) -> Job:
        """Return the job, of the first seed, whose search sets the learning rate of this one.

        A control that is to differ in one thing alone is not tuned by itself: dealt weights have
        the rate of the arm that they are taken from, and another order of tied events has that of
        the usual order.
        """
        main, arm = profile.main, ARMS[self.arm]
        usual = self.data.model_copy(update={"tie_rule": main.tie_rule})
        return replace(
            self,
            data=main if usual == main else self.data,
            arm=arm.tuned_as or arm.name,
            seed=profile.seeds[0],
            rate=None,
        )


AnyJob = Job | CriticJob


def quality_jobs(profile: OfflineRLProfile, data: LogSettings) -> list[Job]:
    """Return the trainings on a log; some arms are on the first log only."""
    names = profile.arms
    if data == profile.main:
        names = (*profile.arms, *profile.main_arms)
    return [Job(data, name, seed) for name in names for seed in profile.seeds]


def tie_jobs(profile: OfflineRLProfile) -> list[Job]:
    """Return stage 1 with two orders of tied events."""
    return [
        Job(profile.main.model_copy(update={"tie_rule": rule}), STAGE1, seed)
        for rule in ("random", "item")
        for seed in profile.seeds
    ]


def start_jobs(profile: OfflineRLProfile) -> list[Job]:
    """Return CRR and its control after stages 1 of several lengths."""
    return [
        Job(profile.main, name, seed, epochs)
        for epochs in (*profile.start_epochs, None)
        for name in (CONTROL, "crr")
        for seed in profile.seeds
    ]


def claimed_in_shop(profile: OfflineRLProfile) -> str:
    """Return the arm of the claims on the simulator: CRR with the binary filter if it is run."""
    return "crr_binary" if "crr_binary" in profile.funnel_arms else "crr"


def rate_jobs(profile: OfflineRLProfile) -> list[Job]:
    """Return trainings at each rate on the simulator's log.

    They are of the arm of the claims, its control, and its like with the right actions if that is
    run.
    """
    names = (CONTROL, claimed_in_shop(profile), "right_bc")
    # A search may try the same rates, and computes them with another rounding.
    upward = search(profile.learning_rates, len(profile.shop_rates), lambda rate: rate, 0.0).values
    more = (
        next((tried for tried in upward if math.isclose(tried, factor)), factor)
        for factor in profile.shop_rates
    )
    factors = (*profile.learning_rates, *more)
    return [
        Job(profile.funnel, name, seed, rate=factor)
        for name in names
        if name in profile.funnel_arms
        for factor in factors
        for seed in profile.seeds
    ]


def all_jobs(profile: OfflineRLProfile) -> list[AnyJob]:
    """Return every training of a run once; on each log those of both stages' length are first."""
    quality = [
        job
        for data in profile.datasets
        for job in sorted(quality_jobs(profile, data), key=lambda job: not _is_long(ARMS[job.arm]))
    ]
    shop = [
        Job(profile.funnel, name, seed) for name in profile.funnel_arms for seed in profile.seeds
    ]
    others = [*tie_jobs(profile), *start_jobs(profile), *shop, *rate_jobs(profile)]
    logs = (*profile.datasets, profile.funnel)
    fits = [
        CriticJob(data, seed, on_returns=on_returns)
        for data in logs
        for on_returns in (False, True)
        for seed in profile.seeds
    ]
    return list(dict.fromkeys([*quality, *others, *fits]))


def _is_long(arm: Arm) -> bool:
    return not arm.from_stage1 and (arm.method, arm.model) != ("next_item", "transformer")
