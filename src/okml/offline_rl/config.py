"""The three scales of the chapter."""

from __future__ import annotations

from okml.offline_rl.settings import (
    ActorSettings,
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


SMOKE = OfflineRLProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    datasets=(
        DataSettings(
            log="ml_100k",
            reward="like",
            length=20,
            test_rows_per_user=20,
            validation_rows=300,
            actor=_SMALL,
            critic=_SMALL_CRITIC,
            stage1=_stage(1, 64, 3e-3),
            stage2=_stage(1, 64, 1e-3),
            baseline=_stage(1, 64, 3e-3),
            sasrec_width=32,
            caser_width=16,
        ),
    ),
    arms=("transformer_only", "bc_continue", "crr"),
    funnel=_funnel(2, 2, 0),
    funnel_arms=("transformer_only", "bc_continue", "crr"),
    simulator=SimulatorSettings(sessions=2000, rollouts=500),
    ope=OPESettings(sessions=1000),
    bootstrap=200,
)
PROFILES: dict[ProfileName, OfflineRLProfile] = {"smoke": SMOKE, "cpu": SMOKE, "gpu": SMOKE}
