"""The settings of the chapter."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from okml.data.logs import names
from okml.offline_rl.rewards import RewardKind
from okml.profile import Profile
from okml.seqrec.interactions import TieRule
from okml.settings import (
    Ascending,
    AtLeastOne,
    BelowOne,
    Bytes,
    Count,
    Depth,
    Distinct,
    LearningRate,
    LocalFolder,
    NonNegative,
    Positive,
    Probability,
    Settings,
    Share,
    Whole,
    Width,
    heads_divide,
    one_of,
    rule,
)

# What a run compares; okml.offline_rl.arms says what each is.
ArmName = Literal[
    "transformer_only",
    "bc_continue",
    "reward_bc",
    "filter_bc",
    "crr",
    "crr_beta1",
    "crr_binary",
    "crr_gamma0",
    "crr_binary_gamma0",
    "crr_mean",
    "crr_max",
    "crr_target_policy",
    "crr_sarsa",
    "crr_cql",
    "crr_only",
    "crr_only_binary",
    "sqn",
    "sac",
    "topk_reinforce",
    "decision_transformer",
    "sasrec_bce",
    "sasrec_ce",
    "caser_bce",
    "caser_ce",
    "distilgpt2_start",
]


class ActorSettings(Settings):
    """The policy: blocks of DistilGPT2 over item vectors. The paper's sizes are not known."""

    width: Width = 768  # the defaults are DistilGPT2's
    layers: Depth = 6
    heads: Depth = 12
    dropout: BelowOne = 0.1
    # Of attention weights; DistilGPT2 has 0.1. Slow on a CPU, so the small scales have none.
    attention_dropout: BelowOne = 0.1
    # A folder with DistilGPT2 as the hub has it: its blocks start from the language weights.
    language_weights: LocalFolder | None = None

    _heads = heads_divide()


class CriticSettings(Settings):
    """The Q-function: an LSTM and item vectors of its own. The paper's sizes are not known."""

    width: Width = 64  # of item vectors, read and scored
    hidden: Width = 64  # of the LSTM
    count: Count = 1  # critics; of two the smaller next value counts


class FilterSettings(Settings):
    """How an advantage becomes a weight: f of CRR, equation 2."""

    kind: Literal["exp", "binary", "all"] = "exp"  # all: behavior cloning
    # Temperature of exp. auto: the running standard deviation of the advantage times
    # `beta_scale`, since the scale of rewards decides what a given temperature means.
    beta: Positive | Literal["auto"] = "auto"
    beta_scale: Positive = 1.0
    largest: Positive = 20.0  # cap of exp


class AdvantageSettings(Settings):
    """What Q(s, a) of the logged action is compared with: section 3.2 of CRR."""

    baseline: Literal["expectation", "mean", "max"] = "expectation"
    samples: Count = 4  # actions that mean and max draw from the policy


class CRRSettings(Settings):
    """One variant of critic-regularized regression."""

    gamma: BelowOne = 0.9
    filter: FilterSettings = FilterSettings()
    advantage: AdvantageSettings = AdvantageSettings()
    # Whose actions value the next state. target: a copy that lags, as in CRR; online: the policy
    # itself (ReAgent), which needs no second pass over the catalog; logged: the next action of the
    # log (SARSA).
    next_action: Literal["target", "online", "logged"] = "online"
    # Steps between copies to the target networks; with `target_rate` they move by it each step.
    target_every: Count = 100
    target_rate: Share | None = None
    supervised: NonNegative = 0.0  # added to every weight: a share of cloning
    conservative: NonNegative = 0.0  # weight of CQL's term, 10 in Tianshou


class Training(Settings):
    """One stage of training."""

    epochs: Count
    batch: Count  # windows
    learning_rate: LearningRate
    critic_learning_rate: LearningRate = 1e-3
    critic_warmup_epochs: Whole = 0  # besides: the actor stands still meanwhile
    weight_decay: NonNegative = 0.01
    warmup_steps: Whole = 0
    gradient_clip: Positive | None = 1.0


class DataSettings(Settings):
    """One log, its protocol, and the sizes of what is trained on it."""

    log: Annotated[str, one_of("event log", lambda: (*names(), "funnel"))]  # funnel: simulated
    reward: RewardKind
    length: Count = Field(ge=2)  # L, items of a state
    tie_rule: TieRule = "random"
    split: Literal["user_holdout", "leave_one_out"] = "user_holdout"
    hide_seen: bool = False  # leave items of the history out of the candidates
    least_item_events: Count | None = None
    least_user_events: Count | None = None
    users: Count | None = None  # drawn at random after the filters; None: all
    periods: tuple[Count, Count] | None = None  # first and last period of an ADER log
    test_rows_per_user: Count | None = None  # the newest; None: all
    validation_rows: Count | None = None  # drawn once; None: all
    actor: ActorSettings
    critic: CriticSettings
    stage1: Training
    stage2: Training
    baseline: Training  # of SASRec and Caser
    sasrec_width: Width = 50
    caser_width: Width = 50

    _periods = rule(
        lambda data: data.periods is None or data.periods[0] <= data.periods[1],
        "periods {periods} must ascend",
    )


class SimulatorSettings(Settings):
    """FunnelSim: a shop where introductions cost now and pay later."""

    sessions: Count = 8000
    clusters: Count = 8
    intro_items: Count = 3  # of a cluster
    core_items: Count = 12
    longest: Count = Field(default=20, ge=2)  # steps
    experts: Probability = 0.25  # share of sessions that an expert policy served
    # Share of an expert's actions that go the other way. Without them the log never shows a third
    # introduction, its value is extrapolated from the first two, and CRR shows nothing else.
    expert_slips: Probability = 0.2
    exploration: Share = 0.05  # share of uniform actions, so that every action has a propensity
    rollouts: Count = 3000  # sessions on which a policy is valued


class OPESettings(Settings):
    """Off-policy evaluation."""

    sessions: Count = 4000  # of the simulator, logged anew, with propensities
    horizons: AtLeastOne[Count] = (1, 2, 3, 5, 10, 20)
    clip: Positive = Field(default=20.0, gt=1)  # of cumulative weights
    least_effective: NonNegative = 100  # sessions; below, an estimate is not reported


class OfflineRLProfile(Profile):
    """All settings of the chapter ``offline_rl``."""

    chapter: ClassVar[str] = "offline_rl"

    datasets: AtLeastOne[DataSettings]  # figures are of the first
    arms: AtLeastOne[ArmName]  # on every data set, with every seed
    main_arms: Distinct[ArmName] = ()  # on the first data set, with every seed
    extra_arms: Distinct[ArmName] = ()  # on the first data set, with a few seeds
    extra_seeds: Count = 1  # of the profile's, for extra arms
    funnel: DataSettings
    funnel_arms: AtLeastOne[ArmName]
    simulator: SimulatorSettings
    ope: OPESettings = OPESettings()
    crr: CRRSettings = CRRSettings()  # the full method; variants differ in what their names say
    learning_rates: AtLeastOne[Positive] = (1.0,)  # factors tried for every arm on the first seed
    start_epochs: Distinct[Count] = ()  # lengths of stage 1 that CRR and its control also start at
    tie_epochs: Ascending[Count] = ()  # lengths, rising, at which orders of ties are compared too
    curve_evaluations: Count = 1  # validations an epoch
    evaluation_batch: Count = 512
    chunk_bytes: Bytes = 2**20  # of logits; what fits a cache is fastest
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        needed = {"transformer_only", "bc_continue", "crr"}
        for name, arms in (("arms", self.arms), ("funnel_arms", self.funnel_arms)):
            if missing := needed - set(arms):
                raise ValueError(f"{name} lacks {', '.join(sorted(missing))}: verdicts need them")
        everywhere = (*self.arms, *self.main_arms, *self.extra_arms)
        if len(set(everywhere)) < len(everywhere):
            raise ValueError("an arm is in one of arms, main_arms and extra_arms")
        if "distilgpt2_start" in everywhere and self.main.actor.language_weights is None:
            raise ValueError("the arm distilgpt2_start needs actor.language_weights")
        if self.funnel.log != "funnel":
            raise ValueError("funnel must have the log 'funnel'")
        if (furthest := max(self.ope.horizons)) > self.simulator.longest:
            raise ValueError(
                f"horizon {furthest} exceeds the {self.simulator.longest} steps of a session"
            )
        return self

    def arms_of(self, data: DataSettings) -> dict[ArmName, tuple[int, ...]]:
        """Return the arms that are trained on a log, with their seeds."""
        found = dict.fromkeys(self.arms, self.seeds)
        if data == self.main:
            found |= dict.fromkeys(self.main_arms, self.seeds)
            found |= dict.fromkeys(self.extra_arms, self.seeds[: self.extra_seeds])
        return found

    @property
    def main(self) -> DataSettings:
        """The data that figures and most claims are about."""
        return self.datasets[0]
