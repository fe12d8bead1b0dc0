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

# The arms of a run, which okml.offline_rl.arms defines.
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
    # Dropout of attention weights; DistilGPT2 has 0.1. The small scales have none, since it is
    # slow on a CPU.
    attention_dropout: BelowOne = 0.1
    # A folder with the hub's DistilGPT2, whose weights initialize the blocks.
    language_weights: LocalFolder | None = None

    _heads = heads_divide()


class CriticSettings(Settings):
    """The Q-function: an LSTM with separate item vectors. The paper's sizes are not known."""

    width: Width = 64  # width of input and output item vectors
    hidden: Width = 64  # width of the LSTM
    count: Count = 1  # number of critics, of which the smallest next value counts


class FilterSettings(Settings):
    """The function from an advantage to a weight: f of CRR, equation 2."""

    kind: Literal["exp", "binary", "all"] = "exp"  # all: behavior cloning
    # Temperature of exp. auto: the running standard deviation of the advantage times
    # `beta_scale`, which does not depend on the scale of rewards.
    beta: Positive | Literal["auto"] = "auto"
    beta_scale: Positive = 1.0
    largest: Positive = 20.0  # largest weight of exp


class AdvantageSettings(Settings):
    """The baseline of Q(s, a) of the logged action: section 3.2 of CRR."""

    baseline: Literal["expectation", "mean", "max"] = "expectation"
    samples: Count = 4  # actions drawn from the policy for mean and max


class CRRSettings(Settings):
    """One variant of critic-regularized regression."""

    gamma: BelowOne = 0.9
    filter: FilterSettings = FilterSettings()
    advantage: AdvantageSettings = AdvantageSettings()
    # The policy of the next state's value. target: the target network, as in CRR; online: the
    # policy itself (ReAgent), which needs no second pass over the catalog; logged: the next action
    # of the log (SARSA).
    next_action: Literal["target", "online", "logged"] = "online"
    # Steps between copies to the target networks; `target_rate`: averaging in each step instead.
    target_every: Count = 100
    target_rate: Share | None = None
    supervised: NonNegative = 0.0  # constant added to every weight (behavior cloning)
    conservative: NonNegative = 0.0  # weight of CQL's regularizer, 10 in Tianshou


class Training(Settings):
    """One stage of training."""

    epochs: Count
    batch: Count  # windows
    learning_rate: LearningRate
    critic_learning_rate: LearningRate = 1e-3
    critic_warmup_epochs: Whole = 0  # additional epochs before, with a frozen actor
    weight_decay: NonNegative = 0.01
    warmup_steps: Whole = 0
    gradient_clip: Positive | None = 1.0


class DataSettings(Settings):
    """One log, its protocol, and the sizes of its networks."""

    log: Annotated[str, one_of("event log", lambda: (*names(), "funnel"))]  # funnel: simulated
    reward: RewardKind
    length: Count = Field(ge=2)  # L, items of a state
    tie_rule: TieRule = "random"
    split: Literal["user_holdout", "leave_one_out"] = "user_holdout"
    hide_seen: bool = False  # whether to exclude items of the history from the candidates
    least_item_events: Count | None = None
    least_user_events: Count | None = None
    users: Count | None = None  # size of a random sample after the filters; None: all
    periods: tuple[Count, Count] | None = None  # first and last period of an ADER log
    test_rows_per_user: Count | None = None  # newest test rows to keep; None: all
    validation_rows: Count | None = None  # size of a random sample; None: all
    actor: ActorSettings
    critic: CriticSettings
    stage1: Training
    stage2: Training
    baseline: Training  # training of SASRec and Caser
    sasrec_width: Width = 50
    caser_width: Width = 50

    _periods = rule(
        lambda data: data.periods is None or data.periods[0] <= data.periods[1],
        "periods {periods} must ascend",
    )


class SimulatorSettings(Settings):
    """FunnelSim: a shop where introductions lose immediate reward and gain later reward."""

    sessions: Count = 8000
    clusters: Count = 8
    intro_items: Count = 3  # introductions of a cluster
    core_items: Count = 12  # core items of a cluster
    longest: Count = Field(default=20, ge=2)  # largest number of steps of a session
    experts: Probability = 0.25  # share of sessions with the expert policy
    # Share of an expert's actions that are deliberately wrong. Without them the log never shows a
    # third introduction, its value is extrapolated from the first two, and CRR shows nothing else.
    expert_slips: Probability = 0.2
    exploration: Share = 0.05  # share of uniform actions, for positive propensities of all items
    rollouts: Count = 3000  # sessions for the return of a policy


class OPESettings(Settings):
    """The settings of off-policy evaluation."""

    sessions: Count = 4000  # sessions of a new log of the simulator, with propensities
    horizons: AtLeastOne[Count] = (1, 2, 3, 5, 10, 20)
    clip: Positive = Field(default=20.0, gt=1)  # largest cumulative weight
    least_effective: NonNegative = 100  # least effective sessions of a reported estimate


class OfflineRLProfile(Profile):
    """All settings of the chapter ``offline_rl``."""

    chapter: ClassVar[str] = "offline_rl"

    datasets: AtLeastOne[DataSettings]  # figures show the first
    arms: AtLeastOne[ArmName]  # arms on every data set, with every seed
    main_arms: Distinct[ArmName] = ()  # arms on the first data set only, with every seed
    extra_arms: Distinct[ArmName] = ()  # arms on the first data set only, with a few seeds
    extra_seeds: Count = 1  # number of the profile's seeds for extra arms
    funnel: DataSettings
    funnel_arms: AtLeastOne[ArmName]
    simulator: SimulatorSettings
    ope: OPESettings = OPESettings()
    crr: CRRSettings = CRRSettings()  # the full method, from which the variants differ
    learning_rates: AtLeastOne[Positive] = (1.0,)  # factors tried for every arm on the first seed
    start_epochs: Distinct[Count] = ()  # further lengths of stage 1 for CRR and its control
    tie_epochs: Ascending[Count] = ()  # further lengths of stage 1 in the comparison of ties
    curve_evaluations: Count = 1  # validations in an epoch
    evaluation_batch: Count = 512
    chunk_bytes: Bytes = 2**20  # memory of logits, which should fit the cache of a CPU
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
        """The first data set, that of figures and most claims."""
        return self.datasets[0]
