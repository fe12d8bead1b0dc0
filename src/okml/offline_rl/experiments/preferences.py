"""Whether critics order the actions of one state as simulated returns do.

CRR weighs an action by the difference between its Q and that of other actions in the same state.
The check of :mod:`okml.offline_rl.experiments.critics` correlates Q with returns over states, so a
critic that knows nothing but states passes it. In the simulator both actions can be taken: sessions
of an actor are repeated with the same random numbers up to a step, where one of each pair is shown
an introduction that it has not seen and the other one a core item; then the actor goes on.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import estimate_over_seeds
from okml.offline_rl.arms import ARMS, CriticJob, Job, claimed_in_shop
from okml.offline_rl.critic import Critics
from okml.offline_rl.experiments.evaluation import evaluate_actions
from okml.offline_rl.experiments.longterm import serve
from okml.offline_rl.simulator import (
    CLUSTER_ITEMS,
    INTRODUCTIONS,
    Recommend,
    Visitors,
    draw_core,
    log_items,
    softmax_policy,
)
from okml.offline_rl.study import Study
from okml.seqrec.encoder import Encoder
from okml.seqrec.interactions import Ints
from okml.seqrec.metrics import Floats
from okml.steps import StepResult, announced

FORKS = (1, 4)  # the actions, from 1, at which sessions part
CORE_SEED = 3  # differs from those of logs and roll-outs


def measure_preferences(study: Study) -> StepResult:
    """Compare differences of Q between two actions with those of simulated returns.

    It is done for the critics as they were fitted to stage 1, and for those of the arm of the
    claims with its last actor.
    """
    profile, result, tables = study.profile, StepResult(), []
    arm = claimed_in_shop(profile)
    gains: dict[int, float] = {}
    said: dict[int, float] = {}
    for seed in profile.seeds:
        fit = CriticJob(profile.funnel, seed)
        trained = study.train(Job(profile.funnel, arm, seed))
        assert trained.critics is not None
        policies = {
            "stage 1": (study.train(fit.stage1).encoder, study.train(fit).critics),
            ARMS[arm].label: (trained.last, trained.critics),
        }
        for name, (actor, critics) in policies.items():
            forks = []
            for step in FORKS:
                with announced(f"both ways: {name}, action {step}, seed {seed}"):
                    forks.append(fork_at(study, actor, critics, step, seed))
            states = pl.concat(forks)
            tables.append(_by_seen(name, states))
            if name == "stage 1":
                gains[seed] = float(states["gains"].to_numpy().mean())
                said[seed] = float(states["said"].to_numpy().mean())
    gain = pl.col("gain of an introduction")
    result.frames["preferences"] = (
        pl.concat(tables)
        .group_by("policy", "introductions seen", maintain_order=True)
        .agg(
            pl.col("states").sum(),
            gain.mean(),
            gain.std().alias("sd over seeds"),
            pl.col("gain by the critics", "critics prefer it").mean(),
        )
    )
    visitors = len(FORKS) * profile.rollouts * len(profile.seeds)
    for metric, values in (("introduction_gain", gains), ("introduction_gain_said", said)):
        result.measure(metric, estimate_over_seeds(values, n=visitors, over="visitors"))
    return result


def fork_at(study: Study, actor: Encoder, critics: Critics, step: int, seed: int) -> pl.DataFrame:
    """Return both ways of an actor's sessions from the action ``step`` on, at least 1.

    A row is a state in which not all introductions were seen. ``seen`` is the number of those of
    the first item's cluster that were; ``gains`` is the discounted return from the step on with an
    introduction less that with a core item, and ``said`` is the same difference by the critics.
    """
    profile = study.profile
    interactions = study.data(profile.funnel, seed).interactions
    usual = softmax_policy(actor, interactions, profile.funnel.length, study.device)
    ways = [
        serve(study, parted(usual, step, seed, introduction=shown), seed) for shown in (True, False)
    ]
    history = ways[0].items[:, :step]  # [s, step], the same in both ways
    seen = introductions_seen(history).sum(1)
    here = (ways[0].items[:, step] >= 0) & (seen < INTRODUCTIONS)
    returns = [way.returns(profile.crr.gamma, first=step) for way in ways]
    said = [
        evaluate_actions(
            study, actor, critics, log_items(way.items[here, : step + 1], interactions)
        )[1][:, -1]
        for way in ways
    ]
    return pl.DataFrame(
        {"seen": seen[here], "gains": (returns[0] - returns[1])[here], "said": said[0] - said[1]}
    )


def introductions_seen(history: Ints) -> NDArray[np.bool_]:
    """Tell which introductions of the first item's cluster a history has, ``[s, intros]``.

    The visitor's interest is hidden from a policy; the first item's cluster is its best guess.
    """
    first = history[:, :1] // CLUSTER_ITEMS * CLUSTER_ITEMS  # [s, 1], the cluster's first item
    introductions = first + np.arange(INTRODUCTIONS)  # [s, intros]
    return np.asarray((history[:, :, None] == introductions[:, None]).any(1))


def parted(usual: Recommend, step: int, seed: int, *, introduction: bool) -> Recommend:
    """Return a policy that shows what is asked at one step, and is the usual one elsewhere.

    Args:
        usual: The policy of all other steps.
        step: The number of the action, from 1.
        seed: The seed of the core items.
        introduction: Whether to show the first introduction of the first item's cluster that was
            not seen, or a core item of that cluster.
    """

    def recommend(
        visitors: Visitors, history: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Floats]:
        if history.shape[1] != step:
            return usual(visitors, history, rng)
        cluster = history[:, 0] // CLUSTER_ITEMS
        if introduction:
            shown = cluster * CLUSTER_ITEMS + introductions_seen(history).argmin(1)
        else:
            shown = draw_core(cluster, np.random.default_rng((CORE_SEED, seed)))
        return shown, np.ones(len(history))

    return recommend


def _by_seen(policy: str, states: pl.DataFrame) -> pl.DataFrame:
    """Return mean gains of introductions by the number seen, true and by the critics."""
    return (
        states.group_by(pl.col("seen").alias("introductions seen"))
        .agg(
            pl.len().alias("states"),
            pl.col("gains").mean().alias("gain of an introduction"),
            pl.col("said").mean().alias("gain by the critics"),
            (pl.col("said") > 0).mean().alias("critics prefer it"),
        )
        .select(pl.lit(policy).alias("policy"), pl.all())
        .sort("introductions seen")
    )
