"""Experiments in the simulator on little worlds."""

from dataclasses import replace
from operator import itemgetter

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from scipy.stats import spearmanr

from okml.kept import trainings_folder
from okml.ledger import format_estimate
from okml.steps import StepResult
from okml.video_workshop.config import SMOKE
from okml.video_workshop.goals import figures
from okml.video_workshop.goals.actor_critics import ActorCritics
from okml.video_workshop.goals.arms import HELD_OUT, LOG, ROLLOUT
from okml.video_workshop.goals.experiments import objectives as objectives_module
from okml.video_workshop.goals.experiments.constrained import CONTROLS, compare_constrained
from okml.video_workshop.goals.experiments.objectives import (
    measure_objectives,
    measure_world,
)
from okml.video_workshop.goals.experiments.top_k import compare_corrections, first_watch
from okml.video_workshop.goals.gains import measure_gains
from okml.video_workshop.goals.policies import evaluate
from okml.video_workshop.goals.simulator import (
    best_of,
    click_score,
    logging_policy,
    looked_at,
    roll_out,
)
from okml.video_workshop.goals.study import GoalsStudy
from tests.video_workshop.goals_tiny import SETTINGS, watched


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


def study_of(folder, least_effective=50):
    goals = SMOKE.goals
    reinforce = goals.reinforce.model_copy(update={"least_effective": least_effective})
    changes = {"simulator": SETTINGS, "reinforce": reinforce}
    profile = SMOKE.model_copy(
        update={"goals": goals.model_copy(update=changes), "device": "cpu", "seeds": (0, 1)}
    )
    study, content = GoalsStudy(profile, folder), watched()[1]
    padded = np.vstack([np.zeros_like(content[:1]), content]).astype(np.float32)
    # Nothing is read from disk.
    study.__dict__ |= {"rated": watched()[0], "world_content": lambda seed: padded}
    return study


@pytest.fixture(scope="module")
def objectives(folder):
    # In this process: two workers would spend their time on imports.
    return measure_objectives(study_of(folder))


def test_the_parts_of_a_click_models_first_day(objectives):
    frame = objectives.frames["objectives"].filter(seed=0)
    assert frame["ctr, first request"].is_between(0, 1).all()
    clicks = frame.filter(objective="clicks")
    for metric, column in objectives_module.AGREEMENTS.items():
        expected = spearmanr(clicks["auc"], clicks[column]).statistic
        assert objectives.values(metric)[0] == pytest.approx(expected)
    oracles = pl.DataFrame({"oracle": ["value", "random", "clicks"], "dau": [0.9, 0.5, 0.4]})
    assert figures.warning(frame, oracles).alt
    assert "clicks, with watching held fixed" in figures.surrogate(objectives).alt


def test_gains_in_users_are_those_of_the_table(objectives):
    """The opponent is the click model of the largest AUC, in each seed."""

    def first(objective):
        return lambda rows: rows.filter(objective=objective).sort("auc")["dau"][0]

    rivals = {
        "several_goals_daily_users_gain": first("several goals"),
        "watching_daily_users_gain": first("watching"),
        "worst_click_daily_users_gain": first("clicks"),
        "transformer_daily_users_gain": lambda rows: rows.filter(kind="transformer")["dau"][0],
    }
    frame = objectives.frames["objectives"]
    for metric, kept in rivals.items():
        for seed, gain in objectives.metrics[metric].values.items():
            rows = frame.filter(seed=int(seed))
            clicks = rows.filter(objective="clicks").sort("auc")
            rival = clicks.filter(kind="mlp") if metric.startswith("transformer") else clicks
            assert gain == pytest.approx(kept(rows) - rival["dau"][-1])
        positive = np.mean([gain > 0 for gain in objectives.metrics[metric].numbers])
        assert objectives.values(f"{metric}_share_of_seeds") == [positive]
    auc = frame.filter(objective="clicks").pivot("kind", index="seed", values="auc")
    ahead = objectives.metrics["transformer_auc_gain"].numbers
    assert ahead == pytest.approx((auc["transformer"] - auc["mlp"]).to_list())
    for metric, control in objectives_module.CONTROLS.items():
        own, other = objectives.metrics[metric], objectives.metrics[control]
        beyond = objectives.differences[metric][control]
        assert beyond.mean == pytest.approx(own.mean - other.mean)
        assert beyond.low <= beyond.mean <= beyond.high


def test_what_satiation_adds_to_the_true_click_probability(folder, objectives):
    """The oracle counts the pairs of a click and a skip in which the click has more."""
    study = study_of(folder)
    for seed, gain in objectives.metrics["satiation_auc_gain"].values.items():
        world = study.world(int(seed))
        log = study.impressions(int(seed), HELD_OUT, study.settings.held_out_days)
        items, clicked = log.items.astype(np.int64), log.clicked.ravel()

        def area(satiation, world=world, log=log, items=items, clicked=clicked):
            logit = world.click_logit(log.users, items, satiation).ravel()
            apart = logit[clicked][:, None] - logit[~clicked]
            return ((apart > 0) + 0.5 * (apart == 0)).mean()

        states = log.satiation.astype(np.float64)
        assert gain == pytest.approx(area(states) - area(0 * states), abs=1e-9)


def test_logs_of_finished_worlds_are_not_drawn_again(folder, objectives, monkeypatch):
    monkeypatch.setattr(GoalsStudy, "impressions", None)
    again = measure_objectives(study_of(folder))
    assert again.metrics["satiation_auc_gain"] == objectives.metrics["satiation_auc_gain"]


def test_oracles_of_several_worlds(folder):
    result = measure_world(study_of(folder))
    users = result.frames["oracles"].pivot("oracle", index="world", values="dau")
    assert users["world"].to_list() == [0, 1]
    better = (users["watch"] > users["clicks"]).mean()
    assert result.values("watch_oracle_share_of_worlds") == [better]


def test_gains_of_corrections_are_differences_of_their_rows(folder):
    result = compare_corrections(study_of(folder), 0)
    plain, capped, full, misplaced = result.frames["corrections"].head(4).to_dicts()
    assert (plain["arm"], capped["arm"], full["arm"], misplaced["arm"]) == (
        "no correction", "capped ratio", "capped ratio, top 5", "capped ratio, β of others",
    )  # fmt: skip
    measured = StepResult()
    measure_gains(measured, result.frames["gains"], {})
    for metric, new, old, column in (
        ("capped_watch_gain", capped, plain, "watch"),
        ("misplaced_ratio_watch_gain", misplaced, plain, "watch"),
        ("top_k_watch_gain", full, capped, "watch"),
        ("capped_value_gain", capped, plain, "value"),
        ("top_k_value_gain", full, capped, "value"),
    ):
        found = measured.metrics[metric]
        assert found.unit == ""
        assert found.mean == pytest.approx(new[column] - old[column], abs=1e-6)
        assert found.low < found.mean < found.high
    told = f"capped ratio {format_estimate(measured.metrics['capped_watch_gain'])}"
    assert told in figures.corrections(measured).alt
    for row in (plain, capped, full):  # a list holds its first item, and five at most
        assert row["true first watch"] < row["true list watch"] < 5 * row["true first watch"]
    # A list earns what its places do, as often as each is looked at.
    places = result.frames["places"]
    looks = looked_at(SETTINGS)
    own, other = (
        (places.filter(arm=row["arm"])["watch"].to_numpy() * looks).mean()
        for row in (capped, plain)
    )
    assert measured.metrics["first_request_watch_gain"].mean == pytest.approx(own - other)


def test_the_true_watching_of_first_lists_by_hand(folder):
    study, rng = study_of(folder), np.random.default_rng(3)
    world = study.world(0)
    served = study.serve(logging_policy(world, SETTINGS), 0, days=2)
    watch = first_watch(world, served)
    assert watch.shape == (world.users, SETTINGS.slate)
    for user in rng.choice(world.users, 5, replace=False):
        for place, item in enumerate(served.items[served.users == user][0]):
            click = expit(-1 + 0.8 * world.affinity[user, item]
                          + 0.9 * world.susceptibility[user] * world.bait[item])  # fmt: skip
            assert watch[user, place] == pytest.approx(click * world.expected_watch[user, item])


def test_users_who_never_tire_are_served_in_the_same_world_without_satiation(folder):
    study = study_of(folder)
    world = study.world(0)
    policy = best_of(click_score(world, accuracy=1.0), SETTINGS.slate)  # shows what tires them
    weary, tireless = (study.serve(policy, 0, days=1, tireless=each) for each in (False, True))
    first = weary.turns == 0
    assert np.array_equal(weary.clicked[first], tireless.clicked[tireless.turns == 0])
    assert weary.clicked.mean() < tireless.clicked.mean()
    rested = roll_out(replace(world, weariness=0.0), policy, SETTINGS,
                      np.random.default_rng([0, ROLLOUT]), days=1)  # fmt: skip
    assert np.array_equal(tireless.items, rested.items)
    assert world.weariness == SETTINGS.weariness


def test_estimates_that_are_not_reported_are_not_ranked(folder):
    every = compare_constrained(study_of(folder, least_effective=0), 0)
    frame = every.frames["constrained"]
    assert frame["estimated watch"].is_not_nan().all()
    (ranked,) = every.values("constrained_estimate_spearman")
    assert ranked == pytest.approx(spearmanr(frame["watch"], frame["estimated watch"]).statistic)
    # The policy whose estimate rests on least is left out, as if it had not been tried.
    least = frame["effective"].sort()[:2].mean()
    some = compare_constrained(study_of(folder, least_effective=least), 0)
    known = frame.filter(pl.col("effective") >= least)
    assert len(known) == len(frame) - 1
    (ranked,) = some.values("constrained_estimate_spearman")
    assert ranked == pytest.approx(spearmanr(known["watch"], known["estimated watch"]).statistic)
    rows = {row["label"]: row for row in frame.to_dicts()}
    measured = StepResult()
    measure_gains(measured, every.frames["gains"], CONTROLS)
    chosen, rival = (
        max((row for row in rows.values() if row["method"] in family), key=itemgetter(column))
        for family, column in (
            (("TSCAC",), "estimated watch"), (("actor-critic watch", "AWR"), "watch"),
        )
    )  # fmt: skip
    watch = rows["actor-critic watch"]
    percent = {
        "constrained_watch_gain_pct": chosen["watch"],
        "actor_critic_watch_gain_pct": watch["watch"],
        "unconstrained_watch_gain_pct": rival["watch"],
    }
    for metric, earned in percent.items():
        gain = 100 * (earned / rows["cloning"]["watch"] - 1)
        assert measured.metrics[metric].mean == pytest.approx(gain, rel=1e-4)
        assert measured.metrics[metric].unit == "%"
    beyond = measured.differences["constrained_watch_gain_pct"]["unconstrained_watch_gain_pct"]
    gap = 100 * (chosen["watch"] - rival["watch"]) / rows["cloning"]["watch"]
    assert beyond.mean == pytest.approx(gap, abs=1e-3)
    less_hate = measured.metrics["constrained_hate_below_actor_critic"].mean
    assert less_hate == pytest.approx(watch["hate"] - chosen["hate"], abs=1e-6)
    lead = 100 * (chosen["watch"] / watch["watch"] - 1)
    assert measured.metrics["served_lead_pct"].mean == pytest.approx(lead, abs=1e-3)
    whole = max((row for row in rows.values() if row["method"] == "TSCAC"),
                key=lambda row: row["lambda"])  # fmt: skip
    for named in ("clicks", "likes", "hate"):
        found = measured.metrics[f"constrained_hate_from_{named}"].mean
        without = next(row for row in rows.values() if row["method"] == f"TSCAC without {named}")
        assert without["lambda"] == whole["lambda"]
        assert found == pytest.approx(whole["hate"] - without["hate"], abs=1e-6)


def test_the_lead_of_one_policy_is_that_of_its_mean_over_states(folder):
    study, settings = study_of(folder, least_effective=0), SETTINGS
    found = compare_constrained(study, 0)
    gains = found.frames["gains"].group_by("metric").agg(pl.col("^(new|old).*$").sum())
    sums = {row["metric"]: row for row in gains.to_dicts()}
    log = study.impressions(0, HELD_OUT, study.settings.held_out_days)
    lab = ActorCritics(
        study, study.audience(0),
        study.impressions(0, LOG, study.settings.constrained.log_days), 0,
        trainings_folder(study, compare_constrained),
    )  # fmt: skip
    judged = evaluate(lab.policy("actor-critic watch", lab.of("watch")), log)
    candidates = judged.situation.candidates
    world = study.world(0)
    clicks = world.click(log.users, candidates, judged.situation.satiation)
    earned = clicks * world.expected_watch[log.users[:, None], candidates]
    first = sums["first_item_lead_pct"]
    assert first["old"] / first["old weight"] == pytest.approx(
        (judged.chance * earned).sum(1).mean()
    )
    drawn = 1 - (1 - judged.chance) ** settings.slate
    lists = sums["drawn_list_lead_pct"]
    assert lists["old"] / lists["old weight"] == pytest.approx((drawn * earned).sum(1).mean())
