"""Constrained actor-critics, which raise watching without loss in other responses."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from okml.kept import trainings_folder
from okml.steps import StepResult, announced
from okml.video_workshop.goals.actor_critics import ActorCritics, methods
from okml.video_workshop.goals.arms import HELD_OUT, LOG, GoalJob
from okml.video_workshop.goals.gains import gain_of_served, measure_gains, served_users
from okml.video_workshop.goals.policies import SoftmaxPolicy, drawn_from, evaluate
from okml.video_workshop.goals.simulator import Rollout
from okml.video_workshop.goals.study import GoalsStudy
from okml.video_workshop.goals.world import Floats
from okml.video_workshop.settings import VideoWorkshopProfile


def constrained_jobs(profile: VideoWorkshopProfile) -> list[GoalJob]:
    """Return the experiment in each world."""
    return [GoalJob("constrained", compare_constrained, seed) for seed in profile.worlds]


def measure_constrained(study: GoalsStudy) -> StepResult:
    """Compare cloning, actor-critics and constrained actor-critics in the simulator."""
    result = study.results(constrained_jobs(study.profile))
    controls = {"constrained_watch_gain_pct": "actor_critic_watch_gain_pct"}
    measure_gains(result, result.frames["gains"], controls)
    return result


def compare_constrained(study: GoalsStudy, seed: int) -> StepResult:
    """Train all methods of a seed on one log, roll each out, and estimate it from another log."""
    goals, result = study.settings, StepResult()
    log = study.impressions(seed, LOG, goals.constrained.log_days)
    held_out = study.impressions(seed, HELD_OUT, goals.held_out_days)
    folder = trainings_folder(study, compare_constrained)
    lab = ActorCritics(study, study.audience(seed), log, seed, folder)
    rows, users = [], {}
    for method in methods(lab):
        with announced(f"{method.label}, seed {seed}"):
            policy = lab.policy(method.label, method.weigh)
            drawn = drawn_from(policy, goals.simulator.slate)
            served = study.serve(drawn, seed, goals.constrained.network.days)
        users[method.label] = served_users(served)
        rows.append({"method": method.name, "lambda": method.strength, "label": method.label,
                     "seed": seed,
                     **served.summary(), **_estimates(study, policy, held_out)})  # fmt: skip
    frame = pl.DataFrame(rows, infer_schema_length=None)
    result.frames["constrained"] = frame
    result.frames["gains"] = _compare(result, frame, users, seed)
    return result


def _estimates(study: GoalsStudy, policy: SoftmaxPolicy, log: Rollout) -> dict[str, float]:
    """Return off-policy estimates of responses to the first item of a slate."""
    judged, settings = evaluate(policy, log), study.settings.reinforce
    watch, hate = (judged.estimate(part, settings) for part in (log.watched, log.hated))
    return {
        "estimated watch": watch.value,
        "estimated hate": hate.value,
        "effective": watch.effective,
    }


def _compare(
    result: StepResult,
    frame: pl.DataFrame,
    users: Mapping[str, Mapping[str, Floats]],
    seed: int,
) -> pl.DataFrame:
    """Return gains of the chosen TSCAC and of its baselines.

    The estimate from the log chooses lambda, not the truth. Without an estimate, gains are missing.
    """
    known = frame.filter(pl.col("estimated watch").is_not_nan())
    if len(known) > 1:
        agreement = known.select(pl.corr("watch", "estimated watch", method="spearman")).item()
        result.log("constrained_estimate_spearman", agreement, seed=seed)
    two_stage = known.filter(method="TSCAC")
    cloning, watch = users["cloning"], users["actor-critic watch"]
    compared = {"actor_critic_watch_gain_pct": (watch, cloning, "watch")}
    if not two_stage.is_empty():
        chosen = users[two_stage.sort("estimated watch")["label"][-1]]
        compared["constrained_watch_gain_pct"] = (chosen, cloning, "watch")
        compared["constrained_hate_change_pct"] = (chosen, cloning, "hate")
        compared["constrained_hate_below_actor_critic"] = (watch, chosen, "hate")
    return pl.concat([gain_of_served(name, seed, *given) for name, given in compared.items()])
