"""What pages say of the record of night without a number of their own."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pytest

from okml.benchmark import TieTrial
from okml.ledger import Outcome, judge, load_claims
from okml.paths import repository_root
from okml.video_workshop.config import CPU
from tests.recorded import interval, recorded

FOUND, TABLES = recorded("video_workshop", "night")
ends = partial(interval, FOUND)


def test_satiation_is_what_parts_accuracy_from_the_clicks_of_a_day():
    clicks = TABLES["objectives"].filter(objective="clicks")
    for column, least in (("auc", "logistic regression"), ("ctr, day 1", "logistic regression")):
        worlds = clicks.pivot("model", index="seed", values=column).drop("seed")
        assert (worlds.select(pl.concat_list(pl.all()).list.arg_min()).to_series()
                == worlds.columns.index(least)).all()  # fmt: skip
    day = clicks.pivot("model", index="seed", values="ctr, day 1").drop("seed")
    assert (day["popularity"] == day.select(pl.max_horizontal(pl.all())).to_series()).all()
    others = clicks.filter(pl.col("kind") != "regression")
    auc = others.pivot("model", index="seed", values="auc").drop("seed")
    assert (auc["popularity"] == auc.select(pl.min_horizontal(pl.all())).to_series()).all()
    # Without satiation the order of a day is that of accuracy; each user once is not enough.
    assert ends("auc_ctr_spearman")[1] < ends("auc_user_ctr_spearman")[1] < 0.5
    assert min(ends("auc_tireless_ctr_spearman")[0], ends("auc_first_ctr_spearman")[0]) > 0.8


def test_corrected_policies_lose_by_satiation_and_by_what_they_put_first():
    frame = TABLES["corrections"]
    own, plain = (frame.filter(arm=arm) for arm in ("capped ratio", "no correction"))
    for column in ("true first watch", "true list watch"):
        assert (own[column] > plain[column]).all()
    assert (own["watch"] < plain["watch"]).all()
    # The interval of users who never tire lies above that of the others, that of first lists below.
    assert ends("capped_watch_gain")[1] < ends("tireless_capped_watch_gain")[0]
    assert ends("first_request_watch_gain")[1] < ends("capped_watch_gain")[0]
    places = TABLES["first_lists"].pivot("arm", index=["seed", "place"], values="watch")
    assert len(places) == 5 * own.height
    assert (places["capped ratio"] < places["no correction"]).all()
    lost, cheap = FOUND.metrics["capped_watch_gain"], FOUND.metrics["misplaced_ratio_watch_gain"]
    assert cheap.mean < 0.5 * lost.mean < 0


def test_logs_tell_the_sign_of_clicks_which_one_world_punishes_and_not_always_of_watching():
    signs = TABLES["surrogate"].with_columns(pl.col("weight", "worth").sign())
    clicks, watching = (signs.filter(response=name) for name in ("click", "watch"))
    assert len(clicks) == 8
    assert (clicks["weight"] == clicks["worth"]).all()
    assert (clicks["worth"] < 0).sum() == 1
    assert (watching["weight"] != watching["worth"]).sum() == 3


def test_a_plain_sum_orders_new_items_as_well_as_the_gated_one_but_does_not_find_them():
    low, high = ends("naive_hybrid_among_cold_hr10")
    assert low < FOUND.metrics["hybrid_among_cold_hr10"].mean < high
    assert ends("naive_hybrid_cold_hr10")[1] < 0.1 * ends("hybrid_cold_hr10")[0]


def test_at_cpu_a_correction_gains_where_users_never_tire():
    found, _ = recorded("video_workshop", "cpu")
    cpu = found.metrics
    gain, first = (cpu[f"{name}_watch_gain"] for name in ("tireless_capped", "first_request"))
    assert min(gain.numbers) > 0 > max(first.numbers)
    assert max(cpu["capped_watch_gain"].numbers) < 0
    late = ("auc_tireless_ctr_spearman", "auc_user_ctr_spearman")
    assert all(interval(found, name)[1] < 0.5 for name in late)
    low, high = interval(found, "auc_tireless_user_ctr_spearman")
    assert 0 < low < 0.5 < 1 < high


def test_one_base_for_all_recommenders():
    rows = TABLES["reuse"].filter(arm="full")
    assert rows["task"].to_list() == ["retrieval", "ranking", "related"]
    assert (rows["low"] > 0).all()
    late = TABLES["reuse"].filter(arm="scratch, all labels").select("task", "still rising")
    assert dict(late.iter_rows()) == {"retrieval": True, "ranking": False, "related": True}
    low, high = ends("reuse_single_task_smallest_gain")
    assert low < 0 < high


def test_a_larger_base_is_hardly_ahead_of_a_smaller_one_that_trained_for_longer():
    assert ends("propagation_smallest_gain")[0] < 0
    retrieval = TABLES["propagation"].filter(task="retrieval")
    gains = dict(retrieval.select("arm", "difference").iter_rows())
    assert 0.5 * gains["base"] < gains["smaller, twice the steps"] < gains["base"]


def test_codes_lose_in_retrieval_alone():
    rows = TABLES["ablations"].filter(arm="semantic_ids")
    found = {row["task"]: row for row in rows.iter_rows(named=True)}
    assert found["retrieval"]["high"] < 0
    assert ends("semantic_id_base_smallest_gain")[0] == pytest.approx(
        found["retrieval"]["low"], abs=1e-6
    )
    for task in ("ranking", "related"):
        assert found[task]["low"] < 0 < found[task]["high"]


def test_several_goals_keep_more_users_in_three_worlds_and_fewer_in_four():
    gains = np.array(FOUND.metrics["several_goals_daily_users_gain"].numbers)
    assert (gains < 0).sum() == 4
    assert (gains > 0.05).sum() == 3
    assert gains.min() > -0.01
    beyond = FOUND.differences["several_goals_daily_users_gain"]["watching_daily_users_gain"]
    assert beyond.interval[0] > 0
    alone = FOUND.metrics["watching_daily_users_gain"].numbers
    assert min(alone) < 0 < max(alone)


def test_satiation_is_what_turns_the_order_of_policies():
    first, lists, served, tireless = (
        ends(f"{name}_lead_pct") for name in ("first_item", "drawn_list", "served", "tireless")
    )
    assert max(first[1], tireless[1]) < 0 < min(lists[0], served[0])
    policies = TABLES["traffic_policies"]
    for (_,), world in policies.group_by("seed"):
        truth = dict(world.select("label", "truth").iter_rows())
        chosen = world.filter(method="TSCAC").sort("chosen by")["label"][-1]
        assert truth["actor-critic watch"] > truth[chosen]


@pytest.mark.parametrize("profile", ["cpu", "night"])
def test_closeness_to_clicks_brings_hate(profile):
    found, tables = recorded("video_workshop", profile)
    clicks, likes, hate = (
        interval(found, f"constrained_hate_from_{name}") for name in ("clicks", "likes", "hate")
    )
    assert likes[1] < 0 < clicks[0]
    assert (hate[1] < 0) == (profile == "night")  # three worlds leave it open
    for (_,), world in tables["constrained"].group_by("seed"):
        drawn = dict(world.select("label", "hate").iter_rows())
        assert drawn["actor-critic click"] > drawn["cloning"]
        assert drawn["actor-critic hate"] > drawn["actor-critic watch"]
        (without,) = (label for label in drawn if label.startswith("TSCAC without clicks"))
        assert drawn[without] > drawn["actor-critic watch"]


def test_the_plain_sum_with_content_loses_related_items_alone():
    read = TABLES["ablations"].filter(pl.col("arm").is_in(["content", "content_sum"]))
    best = read.filter(task="retrieval").sort("validation")["arm"][-1]
    assert best == "content_sum"
    found = {row["task"]: row for row in read.filter(arm=best).iter_rows(named=True)}
    assert found["related"]["high"] < 0
    for task in ("retrieval", "ranking"):
        assert found[task]["low"] < 0 < found[task]["high"]


def test_a_part_of_what_updates_of_sessions_lack_is_the_clicks_of_old_ones():
    gains = {arm: ends(f"ader_diginetica_{arm}_recall20_gain") for arm in ("replay", "repeat")}
    assert gains["repeat"][1] < gains["replay"][0]
    assert gains["replay"][1] < 0
    distilled, plain = (
        f"ader_diginetica_{arm}_recall20_gain" for arm in ("distillation", "update")
    )
    assert FOUND.differences[distilled][plain].interval[0] > 0
    rates = dict(TABLES["sessions"].select("arm", "rate").unique().iter_rows())
    assert rates["replay"] == rates["repeat"] == rates["distillation_all"] == rates["incremental"]
    assert rates["distillation"] != rates["incremental"]


def test_at_cpu_the_largest_rate_is_the_best_for_plain_updates_of_sessions():
    _, tables = recorded("video_workshop", "cpu")
    rates = dict(tables["sessions"].select("arm", "rate").unique().iter_rows())
    (shop,) = CPU.stream.sessions
    assert rates["incremental"] == max(shop.rates) > rates["distillation"] > min(shop.rates)


def test_neither_training_nor_draw_leans_on_the_file():
    _, *others = TABLES["order"]["NDCG@10"]
    assert others == pytest.approx([TABLES["order"]["NDCG@10"][0]] * 3, abs=0.002)


def test_two_draws_of_the_order_of_ties_agree_within_their_intervals():
    trial = TieTrial.read(repository_root() / "results/benchmarks/tie_trial.json")
    claims = {claim.id: claim for claim in load_claims("video_workshop")}
    since = {"update_frequency", "fresh_items", "shift"}  # they are measured otherwise
    flipped, held = {}, set()
    for name, (file, drawn) in trial.outcomes.items():
        short = name.removeprefix("video_workshop.")
        if short in since:
            continue
        metric, now = claims[name].metric, judge(claims[name], FOUND).outcome
        assert metric is not None
        one, other = trial.in_drawn[metric].interval, ends(metric)
        assert one is not None
        assert one[0] <= other[1]
        assert other[0] <= one[1]
        if now is not drawn:
            flipped[short] = (drawn, now)
        if file is Outcome.DIRECTION_HOLDS:
            assert drawn is now is file
            held.add(short)
    assert flipped == {"reuse": (Outcome.UNDECIDED, Outcome.DIRECTION_HOLDS)}
    assert held == {"freshness", "hybrid", "semantic_ids"}


def test_rows_alone_find_no_film_in_its_first_week_however_often_they_are_updated():
    ages = TABLES["item_ages"].filter(pl.col("arm").str.contains(r"^incremental(?: \d a period)?$"))
    assert ages["arm"].to_list() == ["incremental", "incremental 4 a period"]
    assert ages["0-7 d"].to_list() == [0.0, 0.0]
    assert ages["n 0-7 d"].min() > 1_000
