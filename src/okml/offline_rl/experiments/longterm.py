"""True long-term returns of policies in the simulator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import estimate_mean, estimate_ratio
from okml.offline_rl.arms import ARMS, CONTROL, shop_jobs
from okml.offline_rl.comparison import RewardedArms
from okml.offline_rl.rewards import ORDINARY, WANTED
from okml.offline_rl.simulator import (
    INTRODUCTIONS,
    LEAVE_CORE,
    LEAVE_INTRO,
    LOGGING,
    LONGEST,
    PURCHASE,
    Recommend,
    Sessions,
    logging_policy,
    simulate,
    softmax_policy,
    teacher,
)
from okml.offline_rl.study import Study
from okml.seqrec.metrics import Floats
from okml.steps import StepResult, announced

INTRO, CORE = 0, 1
CHOICES = ("introduction", "core item")
VISITORS = "visitors"
ROLLOUT_SEED = 1  # differs from the log's seed


@dataclass(frozen=True)
class ExactReturns:
    """Expected returns of one session, without discount, from its first action.

    Attributes:
        best: The return of the best policy.
        myopic: The return of the policy that maximizes each next reward.
        choices: The choice of the best policy by steps left (from 1) and introductions seen.
        rewards: The expected next reward of an introduction and of a core item, by introductions
            seen.
    """

    best: float
    myopic: float
    choices: NDArray[np.int64]
    rewards: Floats


def solve(longest: int = LONGEST) -> ExactReturns:
    """Return the values of the best and of the myopic policy, by dynamic programming.

    For policies that know the interest, the state is the number of different introductions seen and
    the number of steps left. So the returns are sums, not samples.

    Args:
        longest: The largest number of items of a session, of which the first is no action.
    """
    stages, chance = np.arange(INTRODUCTIONS + 1), np.array(PURCHASE)
    rewards = np.stack(
        [np.full(len(stages), ORDINARY), chance * WANTED + (1 - chance) * ORDINARY], axis=1
    )  # [stages, 2]
    greedy = rewards.argmax(1)
    after_intro = np.minimum(stages + 1, INTRODUCTIONS)
    best, myopic = np.zeros(len(stages)), np.zeros(len(stages))
    choices = []
    for _ in range(longest - 1):
        best_of, myopic_of = (
            rewards + np.stack([(1 - LEAVE_INTRO) * v[after_intro], (1 - LEAVE_CORE) * v], axis=1)
            for v in (best, myopic)
        )
        choices.append(best_of.argmax(1))
        best, myopic = best_of.max(1), myopic_of[stages, greedy]
    return ExactReturns(float(best[0]), float(myopic[0]), np.stack(choices), rewards)


def solve_shop(study: Study) -> StepResult:
    """Return the exact returns of the best and of the myopic policy."""
    exact = solve()
    result = StepResult(frames={"choices": describe_choices(exact)})
    result.log("exact_best_return", exact.best, exact=True)
    result.log("exact_myopic_return", exact.myopic, exact=True)
    result.log("exact_myopic_share", exact.myopic / exact.best, exact=True)
    return result


def describe_choices(exact: ExactReturns) -> pl.DataFrame:
    """Return the next rewards and the choices of both policies, by introductions seen."""
    return pl.DataFrame(
        [
            {
                "introductions seen": stage,
                "next reward, introduction": rewards[INTRO],
                "next reward, core item": rewards[CORE],
                "best choice, many steps left": CHOICES[exact.choices[-1, stage]],
                "myopic choice": CHOICES[rewards.argmax()],
            }
            for stage, rewards in enumerate(exact.rewards)
        ]
    )


def measure_returns(study: Study) -> StepResult:
    """Measure the returns of every arm's stochastic policy, and its metrics on the held-out log."""
    profile, result = study.profile, StepResult()
    data = study.data(profile.funnel)
    comparison = RewardedArms.of(data)
    rows = []
    earned: dict[str, dict[int, Floats]] = defaultdict(dict)
    for job in shop_jobs(profile):
        name, seed, label = job.arm, job.seed, ARMS[job.arm].label
        encoder = study.train(job).last
        comparison.add(name, seed, study.rank(encoder, data))
        with announced(f"simulator: {label}, seed {seed}"):
            policy = softmax_policy(encoder, data.interactions, profile.funnel.length, study.device)
            sessions = serve(study, policy)
        earned[name][seed] = sessions.returns()
        hits = comparison.rows(name, "hr@10", seed)
        rows.append(
            {"arm": name, "label": label, "seed": seed, **_summary(sessions),
             "HR@10": hits.mean(), "HR@10 purchases": hits[comparison.wanted].mean(),
             "NDCG@10": comparison.metric(name, "ndcg@10", seed)}
        )  # fmt: skip
    served = {
        LOGGING: serve(study, logging_policy),
        "myopic, knows the interest": serve(study, teacher(0)),
        "best: two introductions first": serve(study, teacher(2)),
    }
    scripted = [
        {"arm": label, "label": label, "seed": None, **_summary(sessions)}
        for label, sessions in served.items()
    ]
    frame = pl.DataFrame([*rows, *scripted], infer_schema_length=None)
    result.frames["returns"] = frame
    _measure_returns(result, earned, served[LOGGING].returns())
    change = comparison.difference(_claimed(earned), CONTROL, "hr@10")
    result.measure("simulated_hr10_change", change)
    result.log("simulated_rank_agreement", _agreement(frame))
    return result


def _claimed(arms: Collection[str]) -> str:
    """Return the arm of the claims: CRR with the binary filter if it is run."""
    return "crr_binary" if "crr_binary" in arms else "crr"


def _measure_returns(
    result: StepResult, earned: Mapping[str, Mapping[int, Floats]], logging: Floats
) -> None:
    """Measure ratios of returns to the control's, with the same visitors for every policy.

    Args:
        result: The result of the step, which gets the metrics.
        earned: The return of each visitor, ``[v]``, by arm and seed.
        logging: The returns under the logging policy, ``[v]``.
    """
    control, best = earned[CONTROL], _claimed(earned)
    result.measure("simulated_return", estimate_mean(earned[best], VISITORS))
    result.measure(
        "simulated_return_over_log",
        estimate_ratio(earned[best], dict.fromkeys(earned[best], logging), VISITORS),
    )
    ratio = "simulated_return_ratio"
    for metric, name in ((ratio, best), (f"{ratio}_exp", "crr"),
                         (f"{ratio}_gamma0", "crr_binary_gamma0")):  # fmt: skip
        if name in earned:
            result.measure(metric, estimate_ratio(earned[name], control, VISITORS))
    if "crr_binary_gamma0" in earned:
        blind = earned["crr_binary_gamma0"]
        gained = {seed: returns - blind[seed] for seed, returns in earned[best].items()}
        result.compare(ratio, f"{ratio}_gamma0", estimate_ratio(gained, control, VISITORS))


def serve(study: Study, policy: Recommend) -> Sessions:
    """Return sessions of a policy, with the same arrivals for all policies."""
    return simulate(policy, study.profile.rollouts, np.random.default_rng(ROLLOUT_SEED))


def _summary(sessions: Sessions) -> dict[str, float]:
    returns = sessions.returns()
    return {
        "return": float(returns.mean()),
        "standard error": float(returns.std(ddof=1) / np.sqrt(len(returns))),
        "purchases": float(sessions.bought.sum(1).mean()),
        "length": float(sessions.lengths.mean()),
    }


def _agreement(frame: pl.DataFrame) -> float:
    """Return the Spearman correlation of true return and HR@10 over arms (means of seeds)."""
    means = (
        frame.filter(pl.col("seed").is_not_null())
        .group_by("arm")
        .agg(pl.col("return").mean(), pl.col("HR@10").mean())
    )
    return float(means.select(pl.corr("return", "HR@10", method="spearman")).item())
