"""The simulator: what policies are worth when the long term can be seen."""

from __future__ import annotations

import numpy as np
import polars as pl

from okml.offline_rl.comparison import Comparison
from okml.offline_rl.experiments.cells import empty
from okml.offline_rl.settings import ArmName, OfflineRLProfile
from okml.offline_rl.simulator.exact import CORE, Exact, solve
from okml.offline_rl.simulator.policies import shop_numbers, teacher, trained
from okml.offline_rl.simulator.sessions import Recommend, Sessions, logging_policy, simulate
from okml.offline_rl.simulator.world import FunnelSim
from okml.offline_rl.study import Study
from okml.steps import StepResult, announced

ROLLOUT_SEED = 1  # another one than the log's


def solve_shop(study: Study) -> StepResult:
    """Return what is known without any sample: the best return and that of the myopic."""
    exact = solve(study.profile.simulator)
    result = StepResult(frames={"choices": _choices(exact)})
    result.log("exact_best_return", exact.best)
    result.log("exact_myopic_return", exact.myopic)
    result.log("exact_myopic_share", exact.myopic / exact.best)
    return result


def _choices(exact: Exact) -> pl.DataFrame:
    steps, stages = exact.choices.shape
    return pl.DataFrame(
        [
            {
                "introductions seen": stage,
                "next reward, introduction": exact.rewards[stage, 0],
                "next reward, core item": exact.rewards[stage, CORE],
                "best choice, many steps left": _name(exact.choices[steps - 1, stage]),
                "myopic choice": _name(exact.rewards[stage].argmax()),
            }
            for stage in range(stages)
        ]
    )


def _name(choice: int) -> str:
    return "core item" if choice == CORE else "introduction"


def measure_returns(study: Study) -> StepResult:
    """Let every arm serve visitors, by drawing from its policy, and rank the held-out log."""
    profile, result = study.profile, StepResult()
    settings, seeds = profile.funnel, profile.seeds
    data, shop = study.data(settings), FunnelSim(profile.simulator)
    numbers = shop_numbers(data.interactions)
    comparison = empty(data, profile.bootstrap)
    rows = []
    for name in profile.funnel_arms:
        for seed in seeds:
            arm = study.arm(name)
            with announced(f"simulator: {arm.label}, seed {seed}"):
                encoder = study.train(settings, arm, seed).last
                policy = trained(encoder, numbers, settings.length, study.device)
                comparison.add(name, seed, study.rank(encoder, data))
                sessions = serve(study, policy)
            rows.append(
                {"arm": name, "label": arm.label, "seed": seed, **_summary(sessions),
                 "HR@10": comparison.metric(name, "hr@10", seed),
                 "HR@10 purchases": _wanted_hits(comparison, name, seed),
                 "NDCG@10": comparison.metric(name, "ndcg@10", seed)}
            )  # fmt: skip
    scripted = [
        {"arm": label, "label": label, "seed": None, **_summary(serve(study, policy))}
        for label, policy in {
            "the log's policy": logging_policy(shop),
            "myopic, knows the interest": teacher(shop, 0),
            "best: two introductions first": teacher(shop, 2),
        }.items()
    ]
    frame = pl.DataFrame([*rows, *scripted], infer_schema_length=None)
    result.frames["returns"] = frame
    _log_returns(result, frame, profile)
    return result


def _log_returns(result: StepResult, frame: pl.DataFrame, profile: OfflineRLProfile) -> None:
    """Log returns over the control's, and what the next-item metric makes of them."""
    best: ArmName = "crr_binary" if "crr_binary" in profile.funnel_arms else "crr"
    for seed in profile.seeds:
        rows = frame.filter(seed=seed)
        earned = dict(rows.select("arm", "return").iter_rows())
        hits = dict(rows.select("arm", "HR@10").iter_rows())
        result.log("simulated_return", earned[best], seed=seed)
        for metric, name in (
            ("simulated_return_ratio", best),
            ("simulated_return_ratio_exp", "crr"),
            ("simulated_return_ratio_gamma0", "crr_binary_gamma0"),
        ):
            if name in earned:
                result.log(metric, earned[name] / earned["bc_continue"], seed=seed)
        result.log("simulated_hr10_change", hits[best] - hits["bc_continue"], seed=seed)
    result.log("simulated_rank_agreement", _agreement(frame))


def serve(study: Study, policy: Recommend) -> Sessions:
    """Return sessions of a policy; all policies meet the same arrivals."""
    simulator = study.profile.simulator
    rng = np.random.default_rng(ROLLOUT_SEED)
    return simulate(FunnelSim(simulator), policy, simulator.rollouts, rng)


def _summary(sessions: Sessions) -> dict[str, float]:
    returns = sessions.returns()
    return {
        "return": float(returns.mean()),
        "standard error": float(returns.std(ddof=1) / np.sqrt(len(returns))),
        "purchases": float(sessions.bought.sum(1).mean()),
        "length": float(sessions.lengths.mean()),
    }


def _wanted_hits(comparison: Comparison, name: str, seed: int) -> float:
    values = comparison.rows(name, "hr@10", seed)
    wanted = comparison.wanted
    return float(values[wanted].mean()) if wanted.any() else float("nan")


def _agreement(frame: pl.DataFrame) -> float:
    """Return the rank correlation of true return and HR@10 over arms (means of seeds)."""
    means = (
        frame.filter(pl.col("seed").is_not_null())
        .group_by("arm")
        .agg(pl.col("return").mean(), pl.col("HR@10").mean())
    )
    if len(means) < 3:
        return float("nan")
    found = means.select(pl.corr("return", "HR@10", method="spearman")).item()
    return float(found)
