"""Rankers under different objectives on the log of one world, and their returning users.

What clicks, watching, likes and hate are worth to the users is drawn with the world.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from sklearn.metrics import log_loss, roc_auc_score

from okml.kept import trainings_folder
from okml.ledger import estimate_over_seeds
from okml.steps import StepResult, announced
from okml.video_workshop.goals.arms import HELD_OUT, LOG, GoalJob
from okml.video_workshop.goals.gains import gain_of_served, measure_gains, served_users
from okml.video_workshop.goals.impressions import RESPONSES
from okml.video_workshop.goals.rankers import (
    TASKS,
    Answers,
    Click,
    ValueModel,
    content_regression,
    popularity,
)
from okml.video_workshop.goals.simulator import (
    ORACLES,
    Rollout,
    Score,
    best_of,
    oracle,
)
from okml.video_workshop.goals.study import GoalsStudy
from okml.video_workshop.goals.surrogate import (
    learn_surrogate,
    surrogate_agreement,
    user_days,
)
from okml.video_workshop.goals.world import Floats, World
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.goals import ClickModel, GoalsSettings, RankerKind

CONTROLS = {
    "several_goals_daily_users_gain": "watching_daily_users_gain",
    "watching_daily_users_gain": "worst_click_daily_users_gain",
}

# Rank correlations of the AUC with click rates of the first day. A ranker that knows its users has
# longer sessions, in which they tire of what they click: the last rates are without one or both.
AGREEMENTS = {
    "auc_ctr_spearman": "ctr, day 1",
    "auc_first_ctr_spearman": "ctr, first request",
    "auc_user_ctr_spearman": "ctr, day 1, by user",
    "auc_tireless_ctr_spearman": "ctr, day 1, tireless",
    "auc_tireless_user_ctr_spearman": "ctr, day 1, tireless, by user",
}

LABELS: Mapping[ClickModel, str] = {
    "popularity": "popularity",
    "regression": "logistic regression",
    "two_tower": "two towers",
    "mlp": "MLP",
    "mmoe": "MMoE",
    "transformer": "transformer",
}


def objectives_jobs(profile: VideoWorkshopProfile) -> list[GoalJob]:
    """Return the experiment in each world."""
    return [GoalJob("objectives", compare_objectives, seed) for seed in profile.worlds]


def measure_world(study: GoalsStudy) -> StepResult:
    """Roll out oracles, which rank by the true responses, in worlds drawn alike.

    They show what the drawn rules leave open: in which share of worlds even a perfect ranker of
    watching keeps more users than a perfect ranker of clicks.
    """
    goals, result, rows = study.settings, StepResult(), []
    for seed in range(goals.oracle_worlds):
        world = study.world(seed)
        worth = {f"worth of {name}": value for name, value in world.worth._asdict().items()}
        with announced(f"oracles, world {seed + 1} of {goals.oracle_worlds}"):
            for name in ORACLES:
                outcome = study.serve(oracle(world, name, goals.simulator), seed).summary()
                rows.append({"world": seed, "oracle": name, **outcome, **worth})
    result.frames["oracles"] = frame = pl.DataFrame(rows)
    users = frame.pivot("oracle", index="world", values="dau")
    result.log("oracle_worlds", goals.oracle_worlds)
    result.log("watch_oracle_share_of_worlds", float((users["watch"] > users["clicks"]).mean()))  # type: ignore[arg-type]
    return result


def measure_objectives(study: GoalsStudy) -> StepResult:
    """Compare click models of growing capacity with rankers of watching and of several goals."""
    result = study.results(objectives_jobs(study.profile))
    measure_gains(result, result.frames["gains"], CONTROLS)
    agreement: dict[str, dict[int, float]] = {name: {} for name in AGREEMENTS}
    ahead = {}
    for (seed,), rows in result.frames["objectives"].group_by("seed", maintain_order=True):
        clicks = rows.filter(objective="clicks")
        for name, column in AGREEMENTS.items():
            agreement[name][seed] = _spearman(clicks, "auc", column)
        auc = dict(clicks.select("kind", "auc").iter_rows())
        if {"transformer", "mlp"} <= auc.keys():
            ahead[seed] = auc["transformer"] - auc["mlp"]
    for name, correlations in agreement.items():
        result.measure(name, estimate_over_seeds(correlations))
    known = dict(result.frames["satiation"].iter_rows())
    result.measure("satiation_auc_gain", estimate_over_seeds(known))
    if ahead:
        result.measure("transformer_auc_gain", estimate_over_seeds(ahead))
    worth = {seed: study.world(seed).worth.click for seed in study.profile.worlds}
    agrees = surrogate_agreement(result.frames["user_days"], "click", worth)
    result.measure("surrogate_click_agreement", agrees)
    return result


def compare_objectives(study: GoalsStudy, seed: int) -> StepResult:
    """Train all rankers on the log of one world and roll each out from the initial state.

    The several goals are weighted by what the log itself says of returns.
    """
    goals, result = study.settings, StepResult()
    whole = study.impressions(seed, LOG, goals.simulator.outcome_days)
    log = whole.until(goals.simulator.log_days)
    held_out = study.impressions(seed, HELD_OUT, goals.held_out_days)
    rows, served = [], {}

    def serve(objective: str, kind: ClickModel, score: Score, click: Click | None) -> None:
        policy = best_of(score, goals.simulator.slate)
        outcome = study.serve(policy, seed)
        tireless = study.serve(policy, seed, days=1, tireless=True).summary()
        served[objective, kind] = served_users(outcome)
        judged = judge_clicks(click, held_out) if click else {"auc": None, "ne": None}
        rows.append({"objective": objective, "kind": kind, "model": LABELS[kind], "seed": seed,
                     **judged, **outcome.summary(),
                     "ctr, day 1, tireless": tireless["ctr, day 1"],
                     "ctr, day 1, tireless, by user": tireless["ctr, day 1, by user"]})  # fmt: skip

    for kind in goals.click_models:
        with announced(f"clicks only: {LABELS[kind]}, seed {seed}"):
            click, score = _click_model(study, kind, log, seed)
            serve("clicks", kind, score, click)
    days = user_days(whole)
    surrogate = learn_surrogate(days)
    weighted = ValueModel(dict(surrogate.select("response", "weight").iter_rows()))
    for kind in goals.several_goals:
        with announced(f"several goals: {LABELS[kind]}, seed {seed}"):
            found = _answers(study, kind, TASKS, log, seed)
            serve("several goals", kind, found.score(weighted), found.click)
    with announced(f"watching only: MLP, seed {seed}"):
        found = _answers(study, "mlp", ("watched",), log, seed)
        serve("watching", "mlp", found.score(ValueModel({"watched": 1.0})), None)
    result.frames["objectives"] = pl.DataFrame(rows, infer_schema_length=None)
    worth = pl.Series("worth", [getattr(study.world(seed).worth, name) for name in RESPONSES])
    result.frames["surrogate"] = surrogate.with_columns(pl.lit(seed).alias("seed"), worth)
    result.frames["user_days"] = days.with_columns(pl.lit(seed).alias("seed"))
    known = satiation_auc_gain(study.world(seed), held_out)
    result.frames["satiation"] = pl.DataFrame({"seed": [seed], "auc gain": [known]})
    result.frames["gains"] = _gains(result.frames["objectives"], served, goals, seed)
    return result


def _gains(
    frame: pl.DataFrame,
    served: Mapping[tuple[str, ClickModel], Mapping[str, Floats]],
    goals: GoalsSettings,
    seed: int,
) -> pl.DataFrame:
    """Return gains in active users of the last days over the click model with the largest AUC."""
    clicks = frame.filter(objective="clicks").sort("auc")
    best = served["clicks", clicks["kind"][-1]]
    rivals = {
        "several_goals_daily_users_gain": served["several goals", goals.several_goals[0]],
        "watching_daily_users_gain": served["watching", "mlp"],
        "worst_click_daily_users_gain": served["clicks", clicks["kind"][0]],
    }
    gains = [gain_of_served(name, seed, rival, best, "active") for name, rival in rivals.items()]
    if {("clicks", "transformer"), ("clicks", "mlp")} <= served.keys():
        wider, narrow = served["clicks", "transformer"], served["clicks", "mlp"]
        name = "transformer_daily_users_gain"
        gains.append(gain_of_served(name, seed, wider, narrow, "active"))
    return pl.concat(gains)


def judge_clicks(click: Click, log: Rollout) -> dict[str, float]:
    """Return AUC and normalized entropy (cross-entropy relative to the base rate's) on a log."""
    chance = click(log.users, log.items, log.recent.astype(np.int64)).ravel()
    clicked = log.clicked.ravel()
    base = np.full(len(clicked), clicked.mean())
    return {
        "auc": float(roc_auc_score(clicked, chance)),
        "ne": float(log_loss(clicked, chance) / log_loss(clicked, base)),
    }


def satiation_auc_gain(world: World, log: Rollout) -> float:
    """Return how much AUC the true click probability owes to the user's satiation.

    This is what a ranker that knows every user and item can still learn from the last clicks.

    Args:
        world: World of the log.
        log: Impressions with the states of their users.
    """
    items, satiation = log.items.astype(np.int64), log.satiation.astype(np.float64)
    full, rested = (
        roc_auc_score(log.clicked.ravel(), world.click(log.users, items, state).ravel())
        for state in (satiation, np.zeros_like(satiation))
    )
    return float(full - rested)


def _click_model(
    study: GoalsStudy, kind: ClickModel, log: Rollout, seed: int
) -> tuple[Click, Score]:
    """Return a click model as probabilities, and as a score of candidates."""
    if kind == "popularity":
        click = popularity(log, study.world(seed).items)
    elif kind == "regression":
        click = content_regression(log, study.world(seed).features)
    else:
        found = _answers(study, kind, ("click",), log, seed)
        return found.click, found.score(ValueModel({"click": 1.0}))
    return click, lambda s: click(s.users, s.candidates, s.recent)


def _answers(
    study: GoalsStudy, kind: RankerKind, tasks: tuple[str, ...], log: Rollout, seed: int
) -> Answers:
    folder = trainings_folder(study, compare_objectives)
    return Answers(study.ranker(study.audience(seed), log, kind, tasks, seed, folder))


def _spearman(frame: pl.DataFrame, one: str, other: str) -> float:
    return float(frame.select(pl.corr(one, other, method="spearman")).item())
