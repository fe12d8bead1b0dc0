"""True long-term returns of policies in the simulator."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import polars as pl

from okml.ledger import estimate_mean, estimate_ratio
from okml.offline_rl.comparison import Comparison
from okml.offline_rl.experiments.cells import empty
from okml.offline_rl.settings import ArmName
from okml.offline_rl.simulator.exact import CORE, Exact, solve
from okml.offline_rl.simulator.policies import LOGGING, shop_numbers, teacher, trained
from okml.offline_rl.simulator.sessions import Recommend, Sessions, logging_policy, simulate
from okml.offline_rl.simulator.world import FunnelSim
from okml.offline_rl.study import Study
from okml.seqrec.metrics import Floats
from okml.steps import StepResult, announced

CONTROL: ArmName = "bc_continue"
VISITORS = "visitors"
ROLLOUT_SEED = 1  # differs from the log's seed


def solve_shop(study: Study) -> StepResult:
    """Return the exact returns of the best and of the myopic policy."""
    exact = solve(study.profile.simulator)
    result = StepResult(frames={"choices": _choices(exact)})
    result.log("exact_best_return", exact.best, exact=True)
    result.log("exact_myopic_return", exact.myopic, exact=True)
    result.log("exact_myopic_share", exact.myopic / exact.best, exact=True)
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
    """Measure the returns of every arm's stochastic policy, and its metrics on the held-out log."""
    profile, result = study.profile, StepResult()
    settings, seeds = profile.funnel, profile.seeds
    data, shop = study.data(settings), FunnelSim(profile.simulator)
    numbers = shop_numbers(data.interactions)
    comparison = empty(data)
    rows = []
    earned: dict[ArmName, dict[int, Floats]] = {name: {} for name in profile.funnel_arms}
    for name in profile.funnel_arms:
        for seed in seeds:
            arm = study.arm(name)
            with announced(f"simulator: {arm.label}, seed {seed}"):
                encoder = study.train(settings, arm, seed).last
                policy = trained(encoder, numbers, settings.length, study.device)
                comparison.add(name, seed, study.rank(encoder, data))
                sessions = serve(study, policy)
            earned[name][seed] = sessions.returns()
            rows.append(
                {"arm": name, "label": arm.label, "seed": seed, **_summary(sessions),
                 "HR@10": comparison.metric(name, "hr@10", seed),
                 "HR@10 purchases": _wanted_hits(comparison, name, seed),
                 "NDCG@10": comparison.metric(name, "ndcg@10", seed)}
            )  # fmt: skip
    served = {
        LOGGING: serve(study, logging_policy(shop)),
        "myopic, knows the interest": serve(study, teacher(shop, 0)),
        "best: two introductions first": serve(study, teacher(shop, 2)),
    }
    scripted = [
        {"arm": label, "label": label, "seed": None, **_summary(sessions)}
        for label, sessions in served.items()
    ]
    frame = pl.DataFrame([*rows, *scripted], infer_schema_length=None)
    result.frames["returns"] = frame
    _measure_returns(result, earned, served[LOGGING].returns())
    change = comparison.difference(_judged(earned), CONTROL, "hr@10")
    result.measure("simulated_hr10_change", change)
    result.log("simulated_rank_agreement", _agreement(frame))
    return result


def _judged(arms: Collection[ArmName]) -> ArmName:
    """Return the arm of the claims: CRR with the binary filter if it is run."""
    return "crr_binary" if "crr_binary" in arms else "crr"


def _measure_returns(
    result: StepResult, earned: Mapping[ArmName, Mapping[int, Floats]], logging: Floats
) -> None:
    """Measure ratios of returns to the control's, with the same visitors for every policy.

    Args:
        result: The result of the step, which gets the metrics.
        earned: The return of each visitor, ``[v]``, by arm and seed.
        logging: The returns under the logging policy, ``[v]``.
    """
    control, best = earned[CONTROL], _judged(earned)
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
    """Return the Spearman correlation of true return and HR@10 over arms (means of seeds)."""
    means = (
        frame.filter(pl.col("seed").is_not_null())
        .group_by("arm")
        .agg(pl.col("return").mean(), pl.col("HR@10").mean())
    )
    if len(means) < 3:
        return float("nan")
    found = means.select(pl.corr("return", "HR@10", method="spearman")).item()
    return float(found)
