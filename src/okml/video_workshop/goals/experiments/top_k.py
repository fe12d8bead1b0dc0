"""Top-K off-policy corrected REINFORCE in the simulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from torch import Tensor

from okml.kept import trainings_folder
from okml.off_policy import effective_sample
from okml.steps import StepResult, announced
from okml.video_workshop.goals.arms import HELD_OUT, GoalJob
from okml.video_workshop.goals.corrections import action_weights
from okml.video_workshop.goals.gains import gain_of_served, measure_gains, served_users
from okml.video_workshop.goals.impressions import RESPONSES, ImpressionBatch, ImpressionBatches
from okml.video_workshop.goals.policies import SoftmaxPolicy, evaluate, policy_score
from okml.video_workshop.goals.simulator import Rollout, best_of, looked_at
from okml.video_workshop.goals.study import GoalsStudy
from okml.video_workshop.goals.world import Floats, World
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.goals import Correction

REWARD = "watch"  # the reward of the policies


@dataclass(frozen=True)
class ReinforceArm:
    """The configuration of one policy.

    Attributes:
        name: Label in tables.
        correction: Kind of the off-policy correction.
        k: List size K of the top-K factor.
        misplaced: Whether β is that of another request of the batch, as a control.
    """

    name: str
    correction: Correction
    k: int = 1
    misplaced: bool = False


def arms(slate: int) -> dict[str, ReinforceArm]:
    """Return the compared policies by the names that ``GAINS`` uses, for slates of a size."""
    return {
        "none": ReinforceArm("no correction", "none"),
        "ratio": ReinforceArm("capped ratio", "capped"),
        "top_k": ReinforceArm(f"capped ratio, top {slate}", "capped", slate),
        "misplaced": ReinforceArm("capped ratio, β of others", "capped", misplaced=True),
    }


# The new policy, the old one and the response of each gain. Watching is the reward and the metric
# of claims; good will is also reported.
GAINS = {
    "capped_watch_gain": ("ratio", "none", "watch"),
    "misplaced_ratio_watch_gain": ("misplaced", "none", "watch"),
    "top_k_watch_gain": ("top_k", "ratio", "watch"),
    "corrected_watch_gain": ("top_k", "none", "watch"),
    "capped_value_gain": ("ratio", "none", "value"),
    "top_k_value_gain": ("top_k", "ratio", "value"),
}
TIRELESS = "tireless_capped_watch_gain"  # of users who never tire of what they click
FIRST = "first_request_watch_gain"  # of the true watching of the first list, in a fresh state


def top_k_jobs(profile: VideoWorkshopProfile) -> list[GoalJob]:
    """Return the experiment in each world."""
    return [GoalJob("top_k", compare_corrections, seed) for seed in profile.worlds]


def measure_corrections(study: GoalsStudy) -> StepResult:
    """Compare corrections in the simulator, by the truth and by estimates from the log."""
    result = study.results(top_k_jobs(study.profile))
    measure_gains(
        result, result.frames["gains"], {"capped_watch_gain": "misplaced_ratio_watch_gain"}
    )
    return result


def compare_corrections(study: GoalsStudy, seed: int) -> StepResult:
    """Train all arms of a seed on one log, roll each out, and estimate it from another log."""
    goals, result = study.settings, StepResult()
    network = goals.reinforce.network
    log = study.impressions(seed)
    held_out = study.impressions(seed, HELD_OUT, goals.held_out_days)
    source = ImpressionBatches(log, study.device, goals.reinforce.gamma)
    rows, places, users, tireless, first = [], [], {}, {}, {}
    for name, arm in arms(goals.simulator.slate).items():
        with announced(f"REINFORCE, {arm.name}, seed {seed}"):
            policy = _train(study, arm, source, seed)
            best = best_of(policy_score(policy), goals.simulator.slate)
            served = study.serve(best, seed, network.days)
            unsated = study.serve(best, seed, network.days, tireless=True)
        judged = judge_policy(study, policy, held_out, seed)
        rows.append({"arm": arm.name, "k": arm.k, "correction": arm.correction, "seed": seed,
                     **served.summary(), **judged})  # fmt: skip
        users[name], tireless[name] = served_users(served), served_users(unsated)
        watch = first_watch(study.world(seed), served)
        looks = looked_at(goals.simulator)
        first[name] = {"watch": watch @ looks, "impressions": np.full(len(watch), len(looks))}
        places += [{"arm": arm.name, "seed": seed, "place": place, "watch": mean}
                   for place, mean in enumerate(watch.mean(0), 1)]  # fmt: skip
    result.frames["corrections"] = pl.DataFrame(rows, infer_schema_length=None)
    result.frames["places"] = pl.DataFrame(places)
    result.frames["gains"] = pl.concat(
        [
            gain_of_served(metric, seed, users[new], users[old], what)
            for metric, (new, old, what) in GAINS.items()
        ]
        + [
            gain_of_served(TIRELESS, seed, tireless["ratio"], tireless["none"], "watch"),
            gain_of_served(FIRST, seed, first["ratio"], first["none"], "watch"),
        ]
    )
    return result


def first_watch(world: World, served: Rollout) -> Floats:
    """Return the true mean watching of each place of the users' first lists, ``[u, k]``.

    It is that of a place which is looked at, by users who are not sated yet.
    """
    first = (served.days == 0) & (served.turns == 0)
    users, items = served.users[first], served.items[first].astype(np.int64)
    clicks = world.click(users, items, np.zeros((len(users), world.features.shape[1])))
    found: Floats = clicks * world.expected_watch[users[:, None], items]
    return found


def judge_policy(
    study: GoalsStudy, policy: SoftmaxPolicy, log: Rollout, seed: int
) -> dict[str, float]:
    """Return the true watching, its estimate, and diagnostics of the importance weights."""
    judged, world = evaluate(policy, log), study.world(seed)
    slate = study.settings.simulator.slate
    found = judged.estimate(log.watched, study.settings.reinforce)
    return {
        "true first watch": float(judged.true_watch(world).mean()),
        "true list watch": float(judged.true_list_watch(world, slate).mean()),
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
        study.audience(seed), source, weigh, settings.network, seed, folder, estimated=False
    )
