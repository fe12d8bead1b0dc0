"""The settings of the chapter."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from okml.offline_rl.rewards import RewardKind
from okml.profile import Profile
from okml.seqrec.interactions import TieRule

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


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ActorSettings(_Settings):
    """The policy: blocks of DistilGPT2 over item vectors. The paper's sizes are not known."""

    width: PositiveInt = 768  # the defaults are DistilGPT2's
    layers: PositiveInt = 6
    heads: PositiveInt = 12
    dropout: float = Field(default=0.1, ge=0, lt=1)
    # Of attention weights; DistilGPT2 has 0.1. Slow on a CPU, so the small scales have none.
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    # A folder with DistilGPT2 as the hub has it: its blocks start from the language weights.
    language_weights: str | None = None

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        return self


class CriticSettings(_Settings):
    """The Q-function: an LSTM and item vectors of its own. The paper's sizes are not known."""

    width: PositiveInt = 64  # of item vectors, read and scored
    hidden: PositiveInt = 64  # of the LSTM
    count: PositiveInt = 1  # critics; of two the smaller next value counts


class FilterSettings(_Settings):
    """How an advantage becomes a weight: f of CRR, equation 2."""

    kind: Literal["exp", "binary", "all"] = "exp"  # all: behavior cloning
    # Temperature of exp. auto: the running standard deviation of the advantage times
    # `beta_scale`, since the scale of rewards decides what a given temperature means.
    beta: float | Literal["auto"] = "auto"
    beta_scale: float = Field(default=1.0, gt=0)
    largest: float = Field(default=20.0, gt=0)  # cap of exp


class AdvantageSettings(_Settings):
    """What Q(s, a) of the logged action is compared with: section 3.2 of CRR."""

    baseline: Literal["expectation", "mean", "max"] = "expectation"
    samples: PositiveInt = 4  # actions that mean and max draw from the policy


class CRRSettings(_Settings):
    """One variant of critic-regularized regression."""

    gamma: float = Field(default=0.9, ge=0, lt=1)
    filter: FilterSettings = FilterSettings()
    advantage: AdvantageSettings = AdvantageSettings()
    # Whose actions value the next state. target: a copy that lags, as in CRR; online: the policy
    # itself (ReAgent), which needs no second pass over the catalog; logged: the next action of the
    # log (SARSA).
    next_action: Literal["target", "online", "logged"] = "online"
    # Steps between copies to the target networks; with `target_rate` they move by it each step.
    target_every: PositiveInt = 100
    target_rate: float | None = Field(default=None, gt=0, le=1)
    supervised: float = Field(default=0.0, ge=0)  # added to every weight: a share of cloning
    conservative: float = Field(default=0.0, ge=0)  # weight of CQL's term, 10 in Tianshou


class Training(_Settings):
    """One stage of training."""

    epochs: PositiveInt
    batch: PositiveInt  # windows
    learning_rate: float = Field(gt=0)
    critic_learning_rate: float = Field(default=1e-3, gt=0)
    critic_warmup_epochs: int = Field(default=0, ge=0)  # besides: the actor stands still meanwhile
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    gradient_clip: float | None = Field(default=1.0, gt=0)


class DataSettings(_Settings):
    """One log, its protocol, and the sizes of what is trained on it."""

    log: str  # in okml.data.logs, or "funnel": the simulator
    reward: RewardKind
    length: int = Field(ge=2)  # L, items of a state
    tie_rule: TieRule = "random"
    split: Literal["user_holdout", "leave_one_out"] = "user_holdout"
    hide_seen: bool = False  # leave items of the history out of the candidates
    least_item_events: int | None = None
    least_user_events: int | None = None
    users: int | None = None  # drawn at random after the filters; None: all
    periods: tuple[int, int] | None = None  # first and last period of an ADER log
    test_rows_per_user: int | None = Field(default=None, ge=1)  # the newest; None: all
    validation_rows: int | None = Field(default=None, ge=1)  # drawn once; None: all
    actor: ActorSettings
    critic: CriticSettings
    stage1: Training
    stage2: Training
    baseline: Training  # of SASRec and Caser
    sasrec_width: PositiveInt = 50
    caser_width: PositiveInt = 50


class SimulatorSettings(_Settings):
    """FunnelSim: a shop where introductions cost now and pay later."""

    sessions: PositiveInt = 8000
    clusters: PositiveInt = 8
    intro_items: PositiveInt = 3  # of a cluster
    core_items: PositiveInt = 12
    longest: PositiveInt = 20  # steps
    experts: float = 0.25  # share of sessions that an expert policy served
    # Share of an expert's actions that go the other way. Without them the log never shows a third
    # introduction, its value is extrapolated from the first two, and CRR shows nothing else.
    expert_slips: float = 0.2
    exploration: float = 0.05  # share of uniform actions, so that every action has a propensity
    rollouts: PositiveInt = 3000  # sessions on which a policy is valued


class OPESettings(_Settings):
    """Off-policy evaluation."""

    sessions: PositiveInt = 4000  # of the simulator, logged anew, with propensities
    horizons: tuple[int, ...] = (1, 2, 3, 5, 10, 20)
    clip: float = Field(default=20.0, gt=1)  # of cumulative weights
    least_effective: float = 100  # sessions; below, an estimate is not reported


class OfflineRLProfile(Profile):
    """All settings of the chapter ``offline_rl``."""

    chapter: ClassVar[str] = "offline_rl"

    datasets: tuple[DataSettings, ...] = Field(min_length=1)  # figures are of the first
    arms: tuple[ArmName, ...]  # on every data set, with every seed
    main_arms: tuple[ArmName, ...] = ()  # on the first data set, with every seed
    extra_arms: tuple[ArmName, ...] = ()  # on the first data set, with a few seeds
    extra_seeds: PositiveInt = 1  # of the profile's, for extra arms
    funnel: DataSettings
    funnel_arms: tuple[ArmName, ...]
    simulator: SimulatorSettings
    ope: OPESettings = OPESettings()
    crr: CRRSettings = CRRSettings()  # the full method; variants differ in what their names say
    learning_rates: tuple[float, ...] = (1.0,)  # factors tried for every arm on the first seed
    start_epochs: tuple[int, ...] = ()  # lengths of stage 1 that CRR and its control also start at
    tie_epochs: tuple[int, ...] = ()  # lengths, rising, at which orders of ties are compared too
    curve_evaluations: PositiveInt = 1  # validations an epoch
    bootstrap: int = Field(default=1000, ge=100)  # resamples of the users, 95 % interval
    evaluation_batch: PositiveInt = 512
    chunk_bytes: PositiveInt = 2**20  # of logits; what fits a cache is fastest
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        needed = {"transformer_only", "bc_continue", "crr"}
        for name, arms in (("arms", self.arms), ("funnel_arms", self.funnel_arms)):
            if missing := needed - set(arms):
                raise ValueError(f"{name} lacks {', '.join(sorted(missing))}: verdicts need them")
        if self.funnel.log != "funnel":
            raise ValueError("funnel must have the log 'funnel'")
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
