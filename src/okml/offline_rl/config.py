"""The three scales of the chapter."""

from __future__ import annotations

from okml.offline_rl.settings import (
    ActorSettings,
    ArmName,
    CriticSettings,
    CRRSettings,
    DataSettings,
    OfflineRLProfile,
    OPESettings,
    SimulatorSettings,
    Training,
)
from okml.profile import Budget, ProfileName

_SMALL = ActorSettings(width=32, layers=1, heads=2, attention_dropout=0.0)
_SMALL_CRITIC = CriticSettings(width=32, hidden=32)


def _stage(epochs: int, batch: int, rate: float, warmup: float = 0.0) -> Training:
    return Training(
        epochs=epochs, batch=batch, learning_rate=rate, critic_learning_rate=rate,
        critic_warmup_epochs=warmup,
    )  # fmt: skip


def _funnel(pretraining: int, finetuning: int, warmup: int) -> DataSettings:
    """Return FunnelSim with a reward as Yoochoose has it."""
    return DataSettings(
        log="funnel",
        reward="click_buy",
        length=19,
        tie_rule="file",
        test_rows_per_user=4,
        validation_rows=500,
        actor=_SMALL,
        critic=_SMALL_CRITIC,
        stage1=_stage(pretraining, 64, 3e-3),
        stage2=Training(
            epochs=finetuning, batch=64, learning_rate=1e-3, critic_learning_rate=3e-3,
            critic_warmup_epochs=warmup,
        ),
        baseline=_stage(pretraining, 64, 3e-3),
    )  # fmt: skip


# All that the twelve cells and their controls need; the paper's five columns are among them.
_ARMS: tuple[ArmName, ...] = (
    "transformer_only", "bc_continue", "crr", "crr_only",
    "sasrec_bce", "sasrec_ce", "caser_bce", "caser_ce",
)  # fmt: skip
_VARIANTS: tuple[ArmName, ...] = (
    "crr_binary", "crr_beta1", "crr_gamma0", "reward_bc", "filter_bc",
    "crr_mean", "crr_max", "crr_target_policy", "crr_only_binary",
    "sqn", "sac", "topk_reinforce", "decision_transformer",
)  # fmt: skip
_FUNNEL_ARMS: tuple[ArmName, ...] = (
    "transformer_only", "bc_continue", "crr", "crr_binary", "crr_binary_gamma0", "filter_bc",
)  # fmt: skip

SMOKE = OfflineRLProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    datasets=(
        DataSettings(
            log="ml_100k",
            reward="like",
            length=20,
            test_rows_per_user=15,
            validation_rows=300,
            actor=_SMALL,
            critic=_SMALL_CRITIC,
            stage1=_stage(2, 128, 5e-3),
            stage2=_stage(2, 128, 1e-3, warmup=1),
            baseline=_stage(2, 128, 5e-3),
            sasrec_width=32,
            caser_width=16,
        ),
    ),
    arms=_ARMS,
    extra_arms=("crr_binary", "crr_beta1", "crr_gamma0", "filter_bc", "sqn", "topk_reinforce"),
    funnel=_funnel(2, 2, 1),
    funnel_arms=_FUNNEL_ARMS,
    simulator=SimulatorSettings(sessions=2000, rollouts=500),
    crr=CRRSettings(target_every=20),
    ope=OPESettings(sessions=1000),
    bootstrap=200,
)

_MIDDLE = ActorSettings(width=64, layers=1, heads=2, attention_dropout=0.0)

CPU = OfflineRLProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=1),
    seeds=(0, 1, 2),
    datasets=(
        DataSettings(
            log="ml_100k",
            reward="like",
            length=50,
            test_rows_per_user=40,
            validation_rows=600,
            actor=_MIDDLE,
            critic=_SMALL_CRITIC,
            stage1=_stage(6, 32, 2e-3),
            stage2=_stage(4, 32, 1e-3, warmup=1),
            baseline=_stage(9, 32, 2e-3),
            sasrec_width=64,
            caser_width=32,
        ),
        DataSettings(
            log="ader_yoochoose",
            reward="click_buy",  # clicks only, so the return is the length of the session
            length=19,
            tie_rule="file",  # the file's order is the order of events
            periods=(16, 16),
            least_item_events=5,
            least_user_events=3,
            users=6000,
            validation_rows=600,
            actor=_MIDDLE,
            critic=_SMALL_CRITIC,
            stage1=_stage(6, 64, 3e-3),
            stage2=_stage(3, 64, 1e-3, warmup=1),
            baseline=_stage(8, 64, 3e-3),
            sasrec_width=64,
            caser_width=32,
        ),
    ),
    arms=_ARMS,
    extra_arms=_VARIANTS,
    funnel=_funnel(4, 6, 2),
    funnel_arms=_FUNNEL_ARMS,
    simulator=SimulatorSettings(rollouts=2000),
    crr=CRRSettings(target_every=50),
    start_epochs=(2,),
)
PROFILES: dict[ProfileName, OfflineRLProfile] = {"smoke": SMOKE, "cpu": CPU, "gpu": CPU}
