"""Constrained actor-critics, which raise watching without loss in other responses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from okml.kept import trainings_folder
from okml.steps import StepResult, announced
from okml.video_workshop.goals.actor_critics import (
    AUXILIARY,
    UNCONSTRAINED,
    WATCHING_ALONE,
    ActorCritics,
    methods,
)
from okml.video_workshop.goals.arms import HELD_OUT, LOG, GoalJob
from okml.video_workshop.goals.gains import (
    gain_of_served,
    gain_of_users,
    measure_gains,
    served_users,
)
from okml.video_workshop.goals.policies import OffPolicyEvaluation, drawn_from, evaluate
from okml.video_workshop.goals.simulator import Rollout
from okml.video_workshop.goals.study import GoalsStudy
from okml.video_workshop.goals.world import Floats
from okml.video_workshop.settings import VideoWorkshopProfile

CONTROLS = {"constrained_watch_gain_pct": "unconstrained_watch_gain_pct"}


def constrained_jobs(profile: VideoWorkshopProfile) -> list[GoalJob]:
    """Return the experiment in each world."""
    return [GoalJob("constrained", compare_constrained, seed) for seed in profile.worlds]


def measure_constrained(study: GoalsStudy) -> StepResult:
    """Compare cloning, actor-critics and constrained actor-critics in the simulator."""
    result = study.results(constrained_jobs(study.profile))
    measure_gains(result, result.frames["gains"], CONTROLS)
    return result


def compare_constrained(study: GoalsStudy, seed: int) -> StepResult:
    """Train all methods of a seed on one log, roll each out, and estimate it from another log."""
    goals, result = study.settings, StepResult()
    log = study.impressions(seed, LOG, goals.constrained.log_days)
    held_out = study.impressions(seed, HELD_OUT, goals.held_out_days)
    folder = trainings_folder(study, compare_constrained)
    lab = ActorCritics(study, study.audience(seed), log, seed, folder)
    rows, users, judged = [], {}, {}
    for method in methods(lab):
        with announced(f"{method.label}, seed {seed}"):
            policy = lab.policy(method.label, method.weigh)
            served = _serve(study, lab, method.label, seed)
        users[method.label] = served_users(served)
        judged[method.label] = evaluate(policy, held_out)
        rows.append({"method": method.name, "lambda": method.strength, "label": method.label,
                     "seed": seed, **served.summary(),
                     **_estimates(study, judged[method.label], held_out)})  # fmt: skip
    frame = pl.DataFrame(rows, infer_schema_length=None)
    result.frames["constrained"] = frame
    known = frame.filter(pl.col("estimated watch").is_not_nan())
    if len(known) > 1:
        agreement = known.select(pl.corr("watch", "estimated watch", method="spearman")).item()
        result.log("constrained_estimate_spearman", agreement, seed=seed)
    gains = [_of_constraints(frame, users, seed)]
    # The estimate chooses TSCAC's λ, the truth its opponent: estimates of single items prefer the
    # actor-critic, and it is the weaker one where lists are served.
    tried = known.filter(method="TSCAC").sort("estimated watch")["label"]
    rival = frame.filter(pl.col("method").is_in(UNCONSTRAINED)).sort("watch")["label"][-1]
    if len(tried):
        chosen = tried[-1]
        gains.append(_of_chosen(users, chosen, rival, seed))
        gains.append(_leads(study, lab, judged, users, chosen, seed))
    result.frames["gains"] = pl.concat(gains)
    return result


def _serve(
    study: GoalsStudy, lab: ActorCritics, label: str, seed: int, tireless: bool = False
) -> Rollout:
    """Return the roll-out of a trained policy, which draws its lists."""
    drawn = drawn_from(lab.trained[label], study.settings.simulator.slate)
    days = study.settings.constrained.network.days
    return study.serve(drawn, seed, days, tireless=tireless)


def _estimates(study: GoalsStudy, judged: OffPolicyEvaluation, log: Rollout) -> dict[str, float]:
    """Return off-policy estimates of responses to the first item of a slate."""
    settings = study.settings.reinforce
    watch, hate = (judged.estimate(part, settings) for part in (log.watched, log.hated))
    return {
        "estimated watch": watch.value,
        "estimated hate": hate.value,
        "effective": watch.effective,
    }


def _of_chosen(
    users: Mapping[str, Mapping[str, Floats]], chosen: str, rival: str, seed: int
) -> pl.DataFrame:
    """Return gains of the chosen TSCAC and of the best policy without constraints."""
    cloning, watch = users["cloning"], users[WATCHING_ALONE]
    compared = {
        "actor_critic_watch_gain_pct": (watch, cloning, "watch"),
        "unconstrained_watch_gain_pct": (users[rival], cloning, "watch"),
        "constrained_watch_gain_pct": (users[chosen], cloning, "watch"),
        "constrained_hate_change_pct": (users[chosen], cloning, "hate"),
        "constrained_hate_below_actor_critic": (watch, users[chosen], "hate"),
    }
    return pl.concat([gain_of_served(name, seed, *given) for name, given in compared.items()])


def _of_constraints(
    frame: pl.DataFrame, users: Mapping[str, Mapping[str, Floats]], seed: int
) -> pl.DataFrame:
    """Return the hate that closeness to each policy of stage 1 adds, at the largest multiplier.

    Clicks and hate are correlated here, so closeness to the policy of clicks may raise hate.
    """
    labels = dict(frame.filter(pl.col("method") != "TSCAC").select("method", "label").iter_rows())
    whole = users[frame.filter(method="TSCAC").sort("lambda")["label"][-1]]
    return pl.concat(
        [
            gain_of_served(f"constrained_hate_from_{named}", seed,
                           whole, users[labels[f"TSCAC without {named}"]], "hate")
            for named in AUXILIARY.values()
        ]
    )  # fmt: skip


def _leads(
    study: GoalsStudy,
    lab: ActorCritics,
    judged: Mapping[str, OffPolicyEvaluation],
    users: Mapping[str, Mapping[str, Floats]],
    chosen: str,
    seed: int,
) -> pl.DataFrame:
    """Return TSCAC's lead over the actor-critic of watching, in percent, from one item to days.

    Random impressions measure single items in states of the log; a service shows lists for days to
    users who tire. The steps between the two tell where the order of the policies turns.
    """
    world, slate = study.world(seed), study.settings.simulator.slate
    new, old = judged[chosen], judged[WATCHING_ALONE]
    states = new.situation.users
    each = np.ones(len(states))
    of_states = {
        "first_item_lead_pct": (new.true_watch(world), old.true_watch(world)),
        "drawn_list_lead_pct": (
            new.true_list_watch(world, slate), old.true_list_watch(world, slate),
        ),
    }  # fmt: skip
    never_tired = {
        label: served_users(_serve(study, lab, label, seed, tireless=True))
        for label in (chosen, WATCHING_ALONE)
    }
    of_days = {"served_lead_pct": users, "tireless_lead_pct": never_tired}
    return pl.concat(
        [
            gain_of_users(name, seed, states, np.stack([ours, each, theirs, each], axis=1))
            for name, (ours, theirs) in of_states.items()
        ]
        + [
            gain_of_served(name, seed, served[chosen], served[WATCHING_ALONE], "watch")
            for name, served in of_days.items()
        ]
    )
