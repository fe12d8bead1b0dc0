"""The settings of the chapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from okml.data.logs import names
from okml.offline_rl.arms import ARMS, CONTROL, STAGE1
from okml.offline_rl.rewards import RewardKind
from okml.profile import Profile
from okml.seqrec.interactions import TieRule
from okml.settings import (
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
    Settings,
    Whole,
    Width,
    heads_divide,
    one_of,
    rule,
)

ArmName = Annotated[str, one_of("arm", lambda: ARMS)]


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


class CRRSettings(Settings):
    """One variant of critic-regularized regression, Wang et al. (2020)."""

    gamma: BelowOne = 0.9
    # The weight of an action with the advantage A (f of equation 2): exp(A / beta), 1 where A > 0,
    # or 1 everywhere, which is behavior cloning.
    filter: Literal["exp", "binary", "all"] = "exp"
    # The temperature. auto: the running standard deviation of the advantage times
    # `beta_scale`, which does not depend on the scale of rewards.
    beta: Positive | Literal["auto"] = "auto"
    beta_scale: Positive = 1.0
    # What Q of the logged action is compared with (section 3.2): the mean of Q under the policy,
    # or the mean or maximum over a few draws from it.
    baseline: Literal["expectation", "mean", "max"] = "expectation"
    # The policy of the next state's value. target: the target network, as in CRR; online: the
    # policy itself (ReAgent), which needs no second pass over the catalog; logged: the next action
    # of the log (SARSA).
    next_action: Literal["target", "online", "logged"] = "online"
    # Steps between copies to the target networks; CRR takes what its critics were fitted with.
    target_every: Count = 100
    conservative: NonNegative = 0.0  # weight of CQL's regularizer, 10 in Tianshou
    # Whether the policy is a second actor, which gets the weights of CRR's own actor and critic
    # dealt to the actions of a batch at random: a control in which as many actions count, with
    # weights as unequal that say nothing of the actions that have them.
    dealt: bool = False


class StageSettings(Settings):
    """One stage of training."""

    epochs: Count
    batch: Count  # windows
    learning_rate: LearningRate
    weight_decay: NonNegative = 0.01
    warmup_steps: Whole = 0


class FitSettings(Settings):
    """The fit of critics to the actor of stage 1, by the same procedure on every log.

    The pair of rate and copies with the least error of returns, the mean over seeds, is taken.
    """

    rates: AtLeastOne[LearningRate]
    copies: AtLeastOne[Count]  # steps between copies to the target networks


class LogSettings(Settings):
    """One log, its protocol, and the sizes of its networks."""

    log: Annotated[str, one_of("event log", lambda: (*names(), "funnel"))]  # funnel: simulated
    reward: RewardKind
    length: Annotated[Count, Field(ge=2)]  # L, items of a state
    tie_rule: TieRule = "random"
    split: Literal["user_holdout", "leave_one_out"] = "user_holdout"
    hide_seen: bool = False  # whether to exclude items of the history from the candidates
    least_item_events: Count | None = None
    least_user_events: Count | None = None
    # Size of a random sample after the filters, None for all; sessions to simulate for `funnel`.
    users: Count | None = None
    # Newest windows of each user that arms are trained on; None: all of a history.
    windows_per_user: Count | None = None
    test_rows_per_user: Count | None = None  # newest test rows to keep; None: all
    validation_rows: Count | None = None  # size of a random sample; None: all
    actor: ActorSettings
    critic: CriticSettings
    stage1: StageSettings
    stage2: StageSettings
    baseline: StageSettings  # training of SASRec and Caser, for the epochs of both stages
    # The largest number of epochs of a fit of critics, over all training windows of its users.
    fit_epochs: Count
    sasrec_width: Width = 50
    caser_width: Width = 50

    @property
    def is_real(self) -> bool:
        """Whether the log was recorded, not simulated."""
        return self.log != "funnel"

    _budget = rule(
        lambda data: data.baseline.epochs == data.stage1.epochs + data.stage2.epochs,
        "baseline.epochs must be the sum of those of both stages, so that all budgets are equal",
    )


class OfflineRLProfile(Profile):
    """All settings of the chapter ``offline_rl``."""

    chapter: ClassVar[str] = "offline_rl"

    datasets: AtLeastOne[LogSettings]  # figures show the first
    arms: AtLeastOne[ArmName]  # arms on every data set, with every seed
    main_arms: Distinct[ArmName] = ()  # arms on the first data set only, with every seed
    funnel: LogSettings
    funnel_arms: AtLeastOne[ArmName]
    rollouts: Count  # simulated sessions for the return of a policy
    ope_sessions: Count  # sessions of a new log of the simulator for off-policy evaluation
    crr: CRRSettings = CRRSettings()  # the full method, from which the variants differ
    fit: FitSettings
    learning_rates: AtLeastOne[Positive] = (1.0,)  # factors tried for every arm with every seed
    # Further rates beyond an end at which the best one lies, at most so many for a fit or an arm
    # from random weights, and for an arm that starts from stage 1.
    further_rates: Whole = 0
    further_stage2_rates: Whole = 0
    # Further factors in the simulator, for the arms whose returns at each rate are compared.
    shop_rates: Distinct[Positive] = ()
    start_epochs: Distinct[Count] = ()  # further lengths of stage 1 for CRR and its control
    curve_evaluations: Count = 1  # validations in an epoch
    # Epochs in a row without a better validation after which a training from scratch ends. All
    # arms of stage 2 take equally many updates.
    patience: Count
    evaluation_batch: Count = 512
    chunk_bytes: Bytes = 2**20  # memory of logits, which should fit the cache of a CPU
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        needed = {STAGE1, CONTROL, "crr"}
        for name, arms in (("arms", self.arms), ("funnel_arms", self.funnel_arms)):
            if missing := needed - set(arms):
                raise ValueError(f"{name} lacks {', '.join(sorted(missing))}: verdicts need them")
        everywhere = (*self.arms, *self.main_arms)
        if len(set(everywhere)) < len(everywhere):
            raise ValueError("an arm is in one of arms and main_arms")
        if "right_bc" in everywhere:
            raise ValueError("the arm right_bc needs the simulator's log: only funnel_arms has it")
        if "distilgpt2_start" in everywhere and self.main.actor.language_weights is None:
            raise ValueError("the arm distilgpt2_start needs actor.language_weights")
        if self.funnel.log != "funnel" or self.funnel.users is None:
            raise ValueError("funnel must have the log 'funnel' and a number of users")
        return self

    def variant(self, changes: Mapping[str, Any]) -> CRRSettings:
        """Return the settings of CRR with changes, such as those of an arm."""
        return CRRSettings.model_validate(self.crr.model_dump() | dict(changes))

    @property
    def main(self) -> LogSettings:
        """The first data set, that of figures and most claims."""
        return self.datasets[0]
