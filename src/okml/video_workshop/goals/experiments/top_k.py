"""E4: top-K off-policy corrected REINFORCE, in bandits with known solutions and simulated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from torch import Tensor

from okml.kept import trainings_folder
from okml.off_policy import effective_sample
from okml.steps import StepResult, announced
from okml.video_workshop.goals.arms import HELD_OUT, Job
from okml.video_workshop.goals.corrections import (
    ACTIONS,
    action_weights,
    bandits,
    solve_bandit,
)
from okml.video_workshop.goals.gains import gain_of_served, measure_gains, served_users
from okml.video_workshop.goals.impressions import RESPONSES, ImpressionBatch, ImpressionBatches
from okml.video_workshop.goals.policies import SoftmaxPolicy, evaluate, policy_score
from okml.video_workshop.goals.simulator import Rollout, best_of
from okml.video_workshop.goals.study import GoalsStudy
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.goals import Correction

REWARD = "watch"  # the reward of the policies
EXPOSURE_POINTS = 21


@dataclass(frozen=True)
class ReinforceArm:
    """The configuration of one policy.

    Attributes:
        name: Label in tables.
        correction: Kind of the off-policy correction.
        k: List size K of the top-K factor.
        estimated: Whether β is estimated by the behavior head instead of logged.
        misplaced: Whether β is that of another request of the batch, as a control.
    """

    name: str
    correction: Correction
    k: int = 1
    estimated: bool = False
    misplaced: bool = False


def arms(study: GoalsStudy, seed: int) -> list[ReinforceArm]:
    """Return the arms of a seed: those of claims for every seed, the others for the first ones."""
    goals, slate = study.settings, study.settings.simulator.slate
    found = [
        ReinforceArm("no correction", "none"),
        ReinforceArm("capped ratio", "capped"),
        ReinforceArm(f"capped ratio, top {slate}", "capped", slate),
        ReinforceArm("capped ratio, β of others", "capped", misplaced=True),
    ]
    if seed in study.profile.seeds[: goals.extra_seeds]:
        others = [k for k in goals.reinforce.ks if k not in (1, slate)]
        found += [
            ReinforceArm("ratio without a cap", "importance"),
            *(ReinforceArm(f"capped ratio, top {k}", "capped", k) for k in others),
            ReinforceArm(f"capped ratio, top {slate}, estimated", "capped", slate, estimated=True),
        ]
    return found


def top_k_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return the experiment with each seed."""
    return [Job("top_k", compare_corrections, seed) for seed in profile.seeds]


def measure_bandits(study: GoalsStudy) -> StepResult:
    """Compare gradient ascent with the closed forms of both simulations of the paper."""
    result, rows, worst = StepResult(), [], 0.0
    for bandit in bandits():
        found = solve_bandit(bandit, study.settings.reinforce.bandit_steps)
        if bandit.solution is not None:
            worst = max(worst, float((found - bandit.solution).abs().max()))
        label = "not corrected" if bandit.correction == "none" else f"corrected, K = {bandit.k}"
        rows += [
            {
                "simulation": bandit.name,
                "method": label,
                "action": action + 1,
                "reward": float(bandit.rewards[action]),
                "log": float(bandit.behavior[action]),
                "policy": float(found[action]),
                "closed form": None if bandit.solution is None else float(bandit.solution[action]),
            }
            for action in range(ACTIONS)
        ]
    result.frames["bandits"] = pl.DataFrame(rows, infer_schema_length=None)
    result.log("top_k_bandit_error", worst, exact=True)  # deterministic
    return result


def measure_corrections(study: GoalsStudy) -> StepResult:
    """Compare corrections in the simulator, by the truth and by estimates from the log."""
    result = study.results(top_k_jobs(study.profile))
    measure_gains(
        result, result.frames["gains"], {"capped_watch_gain": "misplaced_ratio_watch_gain"}
    )
    return result


def compare_corrections(study: GoalsStudy, seed: int) -> StepResult:
    """Train all arms of a seed on one log, roll each out, and estimate it from another log."""
    goals, world, result = study.settings, study.world, StepResult()
    network = goals.reinforce.network
    log = study.impressions(seed)
    held_out = study.impressions(seed, HELD_OUT, goals.held_out_days)
    source = ImpressionBatches(log, study.device, goals.reinforce.gamma)
    rows, exposures, users = [], [_exposure("the log", log, log, world.items)], []
    for arm in arms(study, seed):
        with announced(f"REINFORCE, {arm.name}, seed {seed}"):
            policy = _train(study, arm, source, seed)
            best = best_of(policy_score(policy), goals.simulator.slate)
            served = study.serve(best, seed, network.days)
        judged = judge_policy(study, policy, held_out)
        rows.append({"arm": arm.name, "k": arm.k, "correction": arm.correction, "seed": seed,
                     **served.summary(), **judged})  # fmt: skip
        exposures.append(_exposure(arm.name, served, log, world.items))
        users.append(served_users(served))
    frame = pl.DataFrame(rows, infer_schema_length=None)
    result.frames["corrections"] = frame
    result.frames["exposure"] = pl.concat(exposures).with_columns(pl.lit(seed).alias("seed"))
    none, ratio, top_k, misplaced = users[:4]
    # Watching is the reward and the metric of claims; good will is also reported.
    gains = {
        "capped_watch_gain": (ratio, none, "watch"),
        "misplaced_ratio_watch_gain": (misplaced, none, "watch"),
        "top_k_watch_gain": (top_k, ratio, "watch"),
        "corrected_watch_gain": (top_k, none, "watch"),
        "capped_value_gain": (ratio, none, "value"),
        "top_k_value_gain": (top_k, ratio, "value"),
    }
    result.frames["gains"] = pl.concat(
        [gain_of_served(name, seed, *compared) for name, compared in gains.items()]
    )
    plain, capped, full = (frame.row(place, named=True) for place in range(3))
    drawn = "true list watch"
    result.log("top_k_drawn_list_watch_gain", full[drawn] - capped[drawn], seed=seed)
    first = "true first watch"
    result.log("corrected_first_watch_gain", full[first] - plain[first], seed=seed)
    return result


def judge_policy(study: GoalsStudy, policy: SoftmaxPolicy, log: Rollout) -> dict[str, float]:
    """Return the true watching, its estimate, and diagnostics of the importance weights."""
    judged = evaluate(policy, log)
    found = judged.estimate(log.watched, study.settings.reinforce)
    return {
        "true first watch": judged.true_watch(study.world),
        "true list watch": judged.true_list_watch(study.world, study.settings.simulator.slate),
        "estimated first watch": found.value,
        "effective": found.effective,
        "effective, no cap": effective_sample(judged.ratio),
        "largest weight": float(judged.ratio.max()),
        "weight variance": float(judged.ratio.var()),
    }


def _train(
    study: GoalsStudy, arm: ReinforceArm, source: ImpressionBatches, seed: int
) -> SoftmaxPolicy:
    settings = study.settings.reinforce

    def weigh(batch: ImpressionBatch, log_prob: Tensor, log_behavior: Tensor) -> Tensor:
        later = batch.later[:, RESPONSES.index(REWARD)]
        returns = batch.response(REWARD) + later[:, None]
        if arm.misplaced:
            log_behavior = log_behavior.roll(1, dims=0)
        return action_weights(log_prob, log_behavior, returns, arm.correction, arm.k, settings.cap)

    folder = trainings_folder(study, compare_corrections) / f"{arm.name} {seed}"
    return study.policy(
        study.audience(seed), source, weigh, settings.network, seed, folder, arm.estimated
    )


def _exposure(name: str, served: Rollout, log: Rollout, items: int) -> pl.DataFrame:
    """Return the cumulative share of impressions of items, the log's most shown items first."""
    order = np.argsort(-np.bincount(log.items.ravel(), minlength=items), kind="stable")
    shown = np.bincount(served.items.ravel(), minlength=items)[order]
    reached = np.concatenate([[0], np.cumsum(shown)]) / shown.sum()
    places = np.linspace(0, items, EXPOSURE_POINTS).astype(int)
    return pl.DataFrame({"arm": name, "items": places / items, "impressions": reached[places]})
