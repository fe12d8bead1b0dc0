"""True long-term returns of policies in the simulator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import Estimate, estimate_over_seeds
from okml.offline_rl.arms import ARMS, CONTROL, STAGE1, Job, claimed_in_shop, rate_jobs
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
from okml.seqrec.encoder import Encoder
from okml.seqrec.interactions import Ints
from okml.seqrec.metrics import Floats
from okml.steps import StepResult, announced
from okml.training.rates import TriedRates

INTRO, CORE = 0, 1
CHOICES = ("introduction", "core item")
ROLLOUT_SEED = 1  # differs from those of logs
CHOICE_SEED = 4  # of visitors whose returns choose a rate; 2 and 3 are those of other draws
SCRIPTED = {
    LOGGING: logging_policy,
    "myopic, knows the interest": teacher(0),
    "best: two introductions first": teacher(2),
}


@dataclass(frozen=True)
class ExactReturns:
    """Expected returns of one session, without discount, from its first action.

    Attributes:
        best: The return of the best policy, which knows how many steps are left.
        stationary: The return of the best policy that does not, and so chooses the same whenever
            as many introductions were seen.
        myopic: The return of the policy that maximizes each next reward.
        choices: The choice of the best policy by steps left (from 1) and introductions seen.
        rewards: The expected next reward of an introduction and of a core item, by introductions
            seen.
    """

    best: float
    stationary: float
    myopic: float
    choices: NDArray[np.int64]
    rewards: Floats


def solve(longest: int = LONGEST) -> ExactReturns:
    """Return the values of the best policies and of the myopic one, by dynamic programming.

    For policies that know the interest, the state is the number of different introductions seen and
    the number of steps left. So the returns are sums, not samples. The first of the ``longest``
    items of a session is no action.
    """
    stages, chance = np.arange(INTRODUCTIONS + 1), np.array(PURCHASE)
    rewards = np.stack(
        [np.full(len(stages), ORDINARY), chance * WANTED + (1 - chance) * ORDINARY], axis=1
    )  # [stages, 2]
    after_intro = np.minimum(stages + 1, INTRODUCTIONS)

    def of_choices(value: Floats) -> Floats:
        """Return the values of both choices, ``[stages, 2]``, from those of the next states."""
        stay = np.stack([(1 - LEAVE_INTRO) * value[after_intro], (1 - LEAVE_CORE) * value], axis=1)
        return np.asarray(rewards + stay)

    def of_fixed(choice: Ints) -> float:
        value = np.zeros(len(stages))
        for _ in range(longest - 1):
            value = of_choices(value)[stages, choice]
        return float(value[0])

    best, choices = np.zeros(len(stages)), []
    for _ in range(longest - 1):
        values = of_choices(best)
        choices.append(values.argmax(1))
        best = values.max(1)
    fixed = (np.array(choice) for choice in product((INTRO, CORE), repeat=len(stages)))
    return ExactReturns(
        best=float(best[0]),
        stationary=max(map(of_fixed, fixed)),
        myopic=of_fixed(rewards.argmax(1)),
        choices=np.stack(choices),
        rewards=rewards,
    )


def solve_shop(study: Study) -> StepResult:
    """Return the exact returns of the best policies and of the myopic one."""
    exact = solve()
    result = StepResult(frames={"choices": describe_choices(exact)})
    result.log("exact_best_return", exact.best, exact=True)
    result.log("exact_stationary_return", exact.stationary, exact=True)
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
    """Measure the returns of every arm's stochastic policy, and its metrics on the held-out log.

    Each seed has a log and visitors of its own, which all policies share.
    """
    profile, result = study.profile, StepResult()
    rows: list[dict[str, object]] = []
    for seed in profile.seeds:
        data = study.data(profile.funnel, seed)
        comparison = RewardedArms.of(data)
        for name in profile.funnel_arms:
            label = ARMS[name].label
            encoder = study.train(Job(profile.funnel, name, seed)).last
            comparison.add(name, seed, study.rank(encoder, data))
            with announced(f"simulator: {label}, seed {seed}"):
                sessions = serve_actor(study, encoder, seed)
            found = comparison.rows(name, "hr@10", seed)
            rows.append(
                {"arm": name, "label": label, "seed": seed, **_summary(sessions),
                 "HR@10": found.mean(), "HR@10 purchases": found[comparison.wanted].mean(),
                 "NDCG@10": comparison.metric(name, "ndcg@10", seed)}
            )  # fmt: skip
        for label, scripted in SCRIPTED.items():
            sessions = serve(study, scripted, seed)
            rows.append({"arm": label, "label": label, "seed": seed, **_summary(sessions)})
    frame = pl.DataFrame(rows, infer_schema_length=None)
    result.frames["returns"] = frame
    best = claimed_in_shop(profile)

    def by_seed(arm: str, column: str) -> dict[int, float]:
        return dict(frame.filter(arm=arm).select("seed", column).iter_rows())

    earned = {arm: by_seed(arm, "return") for arm in frame["arm"].unique(maintain_order=True)}
    _measure_returns(result, best, earned, profile.rollouts)
    _measure_rates(result, study, best, earned)
    compared = {CONTROL, best, "crr_binary_gamma0"} & set(profile.funnel_arms)
    open_ends = sum(not at_its_best_rate(study, name, result.frames["rates"]) for name in compared)
    result.log("simulated_unbracketed", open_ends, exact=True)
    hits, other = (by_seed(arm, "HR@10") for arm in (best, CONTROL))
    change = {seed: hits[seed] - other[seed] for seed in profile.seeds}
    result.measure("simulated_hr10_change", estimate_over_seeds(change))
    means = frame.drop_nulls("HR@10").group_by("arm").agg(pl.col("return", "HR@10").mean())
    agreement = means.select(pl.corr("return", "HR@10", method="spearman")).item()
    result.log("simulated_rank_agreement", float(agreement))
    return result


def _measure_rates(
    result: StepResult, study: Study, best: str, earned: Mapping[str, Mapping[int, float]]
) -> None:
    """Measure the ratio of returns where each arm has the learning rate of its highest return.

    Elsewhere the rate is chosen by validation on the next item, which does not see the return. With
    the choice by the return from other visitors, the mean over seeds, the ratio shows whether that
    decides it. ``best`` is the arm of the claims, and ``earned`` what arms earn at their own rate.
    """
    profile, rows = study.profile, []
    # The return by arm, rate and seed, and that from the visitors who choose the rate.
    returns: dict[str, dict[float, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    choosing: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    jobs = rate_jobs(profile)
    chosen = {job.arm: study.rate(replace(job, rate=None)) for job in jobs}
    jobs += [replace(job, rate=chosen[job.arm]) for job in jobs]
    for job in dict.fromkeys(jobs):
        assert job.rate is not None
        trained = study.train(job)
        with announced(f"simulator: {ARMS[job.arm].label}, rate {job.rate:g}, seed {job.seed}"):
            if job.rate == chosen[job.arm]:
                found = earned[job.arm][job.seed]
            else:
                found = float(serve_actor(study, trained.last, job.seed).returns().mean())
            other = serve_actor(study, trained.last, job.seed, CHOICE_SEED).returns()
        returns[job.arm][job.rate][job.seed] = found
        choosing[job.arm][job.rate].append(float(other.mean()))
        rows.append(
            {
                "arm": job.arm,
                "label": ARMS[job.arm].label,
                "factor of the rate": job.rate,
                "seed": job.seed,
                "validation NDCG@10": trained.history.best_value,
                "return": found,
                "return from those who choose": float(other.mean()),
            }
        )
    result.frames["rates"] = pl.DataFrame(rows)
    untrained = float(np.mean([*earned[STAGE1].values()]))
    tried = {
        arm: TriedRates({rate: float(np.mean(of)) for rate, of in by.items()}, untrained)
        for arm, by in choosing.items()
    }
    highest = {arm: returns[arm][found.best] for arm, found in tried.items()}
    for metric, arm in (("best_rates", best), ("right_best_rates", "right_bc")):
        if arm in highest:
            ratios = {seed: highest[arm][seed] / highest[CONTROL][seed] for seed in profile.seeds}
            estimate = _over_worlds(ratios, profile.rollouts)
            result.measure(f"simulated_return_ratio_{metric}", estimate)
    open_ends = sum(not tried[arm].bracketed for arm in (CONTROL, best))
    result.log("simulated_return_unbracketed", open_ends, exact=True)


def at_its_best_rate(study: Study, name: str, rates: pl.DataFrame) -> bool:
    """Tell whether an arm has its best rate by validation, with none beyond that may be better.

    Rates at which only returns are compared count as tried; they are in the frame ``rates``.
    """
    profile = study.profile
    tried = study.tried(Job(profile.funnel, name, profile.seeds[0]))
    more = (
        rates.filter(arm=name)
        .group_by("factor of the rate")
        .agg(pl.col("validation NDCG@10").mean())
    )
    every = TriedRates({**dict(more.iter_rows()), **tried.values}, tried.untrained)
    return every.best == tried.best and every.bracketed


def _measure_returns(
    result: StepResult, best: str, earned: Mapping[str, Mapping[int, float]], visitors: int
) -> None:
    """Measure ratios of returns to the control's, with the same visitors for every policy.

    ``best`` is the arm of the claims, and ``earned`` the mean return of a seed's visitors.
    """
    seeds = earned[CONTROL]

    def measure(metric: str, of: Mapping[int, float], by: Mapping[int, float]) -> None:
        ratios = {seed: of[seed] / by[seed] for seed in seeds}
        result.measure(metric, _over_worlds(ratios, visitors))

    result.measure("simulated_return", _over_worlds(earned[best], visitors))
    measure("simulated_return_over_log", earned[best], earned[LOGGING])
    ratio = "simulated_return_ratio"
    for metric, name in ((ratio, best), (f"{ratio}_exp", "crr"),
                         (f"{ratio}_gamma0", "crr_binary_gamma0"),
                         (f"{ratio}_filtered", "filter_bc"),
                         (f"{ratio}_right", "right_bc")):  # fmt: skip
        if name in earned:
            measure(metric, earned[name], earned[CONTROL])
    if blind := earned.get("crr_binary_gamma0"):
        gained = {seed: (earned[best][seed] - blind[seed]) / seeds[seed] for seed in seeds}
        result.compare(ratio, f"{ratio}_gamma0", _over_worlds(gained, visitors))


def _over_worlds(values: Mapping[int, float], visitors: int) -> Estimate:
    return estimate_over_seeds(values, n=visitors * len(values), over="visitors")


def serve(study: Study, policy: Recommend, seed: int, visitors: int = ROLLOUT_SEED) -> Sessions:
    """Return sessions of a policy, with the same arrivals for all policies of a seed.

    Other ``visitors`` are drawn with another number.
    """
    return simulate(policy, study.profile.rollouts, np.random.default_rng((visitors, seed)))


def serve_actor(study: Study, actor: Encoder, seed: int, visitors: int = ROLLOUT_SEED) -> Sessions:
    """Return sessions of the softmax of an actor of the simulator's log; see :func:`serve`."""
    log = study.profile.funnel
    interactions = study.data(log, seed).interactions
    policy = softmax_policy(actor, interactions, log.length, study.device)
    return serve(study, policy, seed, visitors)


def _summary(sessions: Sessions) -> dict[str, float]:
    returns = sessions.returns()
    return {
        "return": float(returns.mean()),
        "standard error": float(returns.std(ddof=1) / np.sqrt(len(returns))),
        "purchases": float(sessions.bought.sum(1).mean()),
        "length": float(sessions.lengths.mean()),
    }
