"""The experiments on user models from end to end at the smallest sizes, and its figures."""

from __future__ import annotations

from unittest import mock

import numpy as np
import polars as pl
import pytest

from okml.errors import ParameterError
from okml.training import History
from okml.video_workshop.common import study as study_module
from okml.video_workshop.config import CPU
from okml.video_workshop.settings.users import (
    DownstreamSettings,
    UserModelSettings,
    UserPretrainingSettings,
    UsersSettings,
)
from okml.video_workshop.users import figures
from okml.video_workshop.users.arms import UserArm, ablation_rows, changed, reuse_rows, the_base
from okml.video_workshop.users.evaluation import TASKS, PairedEvaluation
from okml.video_workshop.users.experiments import reuse
from okml.video_workshop.users.study import MONITORS, UsersStudy
from tests.video_workshop.users_tiny import ITEMS, watched

TINY = UsersSettings(
    base=UserModelSettings(length=6, width=16, layers=2),
    smaller=UserModelSettings(length=6, width=8, layers=1),
    pretraining=UserPretrainingSettings(steps=4, learning_rate=1e-2),
    downstream=DownstreamSettings(
        steps=3, steps_all_labels=3, evaluate_every=1, learning_rate=1e-2
    ),
    label_share=0.3,
    valid_rows=2,
    ablations=(
        "shuffled",
        "item_alone",
        "intents",
        "intents_free",
        "content",
        "content_sum",
        "semantic_ids",
    ),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    patch = pytest.MonkeyPatch()

    def load(settings):  # the second draw is another log, and so is the file's order
        seed = 2 if settings.tie_rule == "file" else max(settings.tie_seed - 1, 0)
        return watched(users=50, events=8, seed=seed)

    patch.setattr(study_module, "load_watched", load)
    # In this process: two workers would spend their time on imports.
    patch.setattr("okml.training.ahead.usable_cores", lambda: 1)
    items = CPU.items.model_copy(update={"components": 4, "prefix_codes": 3})
    changes = {"users": TINY, "items": items, "seeds": (0, 1), "device": "cpu",
               "data": CPU.data.model_copy(update={"text": "tfidf"})}  # fmt: skip
    profile = CPU.model_copy(update=changes)
    made = UsersStudy(profile, tmp_path_factory.mktemp("run"))
    reuse.train_users(made)
    yield made
    patch.undo()


@pytest.fixture(scope="module")
def reused(study):
    return reuse.measure_reuse(study)


def test_training_and_validation_are_before_the_cut_and_the_test_after_it(study):
    trainer = study
    events = trainer.watched.interactions
    users = events.users()
    trained = np.arange(len(events)) < trainer.train_end[users]
    validated = np.isin(np.arange(len(events)), trainer.valid.end)
    assert (events.times[trained | validated] < trainer.cut).all()
    assert (events.times[~trained & ~validated] >= trainer.cut).all()
    assert (events.times[trainer.test.end] >= trainer.cut).all()
    assert 0.75 < (trained | validated).mean() < 0.85
    assert not (trained & validated).any()
    assert trainer.genres.sum() == ITEMS


@pytest.mark.parametrize("task", ["retrieval", "ranking"])
def test_a_recommender_is_validated_on_rows_of_its_own_labels(study, task):
    base, events = the_base(TINY), study.watched.interactions
    few, every = (UserArm(task, base, "full", share) for share in (TINY.label_share, 1.0))
    rows = study.valid_of(few, 0)
    labeled = set(study._windows(TINY.base.length, few.share, 0).user.tolist())
    assert 0 < len({*rows.user.tolist()}) <= len(labeled) < len({*study.valid.user.tolist()})
    assert {*rows.user.tolist()} <= labeled
    assert {*rows.end.tolist()} <= {*study.valid_of(every, 0).end.tolist()}
    # No training, that of a base included, has a validated event as its target or input.
    assert (rows.end >= study.train_end[rows.user]).all()
    assert (events.times[rows.end] < study.cut).all()
    assert task == "ranking" or study.watched.liked[rows.end].all()


@pytest.mark.parametrize("task", ["retrieval", "ranking"])
def test_the_weights_that_are_best_in_validation_are_kept(study, task):
    arm = UserArm(task, the_base(TINY), "scratch", TINY.label_share)
    trained, metric = study.recommender(arm, 0), MONITORS[arm.task]
    curve = trained.history.frame.select("step", metric).drop_nulls()
    assert len(curve) > 3
    best = curve[metric].max()
    assert trained.history.best_value == best
    assert study._validation(arm, 0)(trained.module) == {metric: pytest.approx(best)}


def test_an_arm_that_stopped_too_early_is_told(study):
    """By a line and a plateau, whose verdicts are known without a training."""
    judge = PairedEvaluation(study)
    for name, values in (("line", np.arange(1, 11)), ("plateau", np.minimum(np.arange(1, 11), 5))):
        for task, metric in MONITORS.items():
            frame = pl.DataFrame({"step": np.arange(1, 11), metric: values.astype(float)})
            judge.histories[task][name, 0] = History(frame, 10, "max_steps", 10, 10.0)
    assert [judge.rising(task, name) for task in MONITORS for name in ("line", "plateau")] == [
        True, False, True, False,
    ]  # fmt: skip
    assert reuse._still_rising(judge, "line", "plateau") == 2


def test_a_finished_training_is_loaded(study):
    again = UsersStudy(study.profile, study.run_dir)
    base = the_base(TINY)
    first = study.pretrained(base, 0).module.state_dict()
    with mock.patch("okml.training.loop._Run._take", side_effect=AssertionError("trained again")):
        second = again.pretrained(base, 0).module.state_dict()
    assert all((value == second[name]).all() for name, value in first.items())


def test_reuse(reused):
    result, table = reused, reused.frames["reuse"]
    assert set(table["task"]) == {"retrieval", "ranking", "related"}
    retrieval = table.filter(task="retrieval")
    assert {"scratch", "frozen", "full"} <= set(retrieval["arm"])
    assert retrieval.filter(arm="frozen")["seeds"].item() == 2
    for labels, metric in (("", "reuse"), (", all labels", "reuse_all_labels")):
        of = {
            arm: dict(table.filter(arm=f"{arm}{labels}").select("task", "value").iter_rows())
            for arm in ("full", "scratch")
        }
        gains = {task: of["full"][task] - of["scratch"][task] for task in TASKS}
        assert np.isclose(np.mean(result.values(f"{metric}_ndcg_gain")), gains["retrieval"])
        rising = table.filter(pl.col("arm").is_in([f"full{labels}", f"scratch{labels}"]))
        rising = rising.filter(pl.col("task") != "related")["still rising"]
        assert result.values(f"{metric}_still_rising") == [rising.sum()]
        smallest = result.metrics[f"{metric}_smallest_gain"]
        assert np.isclose(smallest.mean, min(gains.values()))
        assert smallest.low <= smallest.mean <= smallest.high
        single = table.filter(arm=f"single task{labels}")
        over = [of["full"][task] - single.filter(task=task)["value"].item() for task in TASKS]
        smallest = result.metrics[f"{metric}_single_task_smallest_gain"]
        assert smallest.mean == pytest.approx(min(over))
    assert figures.gains(table, "scratch").alt.count("frozen") == 3


def test_without_steps_no_recommender_has_all_labels(study):
    downstream = TINY.downstream.model_copy(update={"steps_all_labels": 0})
    users = TINY.model_copy(update={"downstream": downstream})
    profile = study.profile.model_copy(update={"users": users})
    assert {row.job.what.share for row in reuse_rows(profile)} == {TINY.label_share}
    result = reuse.measure_reuse(UsersStudy(profile, study.run_dir))
    assert "reuse_smallest_gain" in result.metrics
    assert not [name for name in result.metrics if "all_labels" in name]


def test_bases_differ_in_what_their_names_say(study):
    """The single task has no other loss; Semantic IDs and content change the table alone."""
    base = the_base(TINY)
    single, codes = changed(TINY, "item_alone"), changed(TINY, "semantic_ids")
    weights = single.pretraining.weights
    assert (weights.action, weights.genre) == (0, 0)
    assert (single.model, single.table) == (base.model, base.table)
    assert (base.table, codes.table) == ("id", "hybrid_sid")
    assert (codes.model, codes.pretraining) == (base.model, base.pretraining)
    starts = {
        (row.name, row.job.what.mode, row.job.what.share < 1): row.job.what.base
        for row in reuse_rows(study.profile)
    }
    few, every = ("single task", "full", True), ("single task, all labels", "full", False)
    assert starts[few] == starts[every] == single
    others = {start for key, start in starts.items() if key not in (few, every)}
    assert (len(starts), others) == (7, {base})


def test_the_same_order_gives_the_same_number(reused):
    own, same, other, file = reused.frames["order"]["NDCG@10"]
    assert same == own
    assert reused.values("reordered_ndcg_change") == [pytest.approx((other - own) / 2)]
    assert file not in (own, other)
    assert reused.values("file_order_ndcg_change") == [pytest.approx(file - own)]


def test_a_log_with_one_order_reports_no_change(study):
    """KuaiRand is ordered by the millisecond: a change of 0 would be one of nothing."""
    data = study.profile.data.model_copy(update={"log": "kuairand_1k"})
    shown = UsersStudy(study.profile.model_copy(update={"data": data}), study.run_dir)
    result = reuse.measure_reuse(shown)
    assert "reordered_ndcg_change" not in result.metrics
    assert len(result.frames["order"]) == 1
    assert "no other order" in result.notes[0]
    with pytest.raises(ParameterError, match="one order"):
        shown.reordered("random", 1)


def test_propagation_and_action_tokens(study):
    result = reuse.measure_propagation(study)
    # All recommenders gain for sure where each interval is above 0, not all where one is below.
    gains = result.frames["propagation"].filter(arm="base")
    least = tuple(gains[end].min() for end in ("low", "difference", "high"))
    smallest = result.metrics["propagation_smallest_gain"]
    assert (smallest.low, smallest.mean, smallest.high) == pytest.approx(least)
    (own_loss,) = result.frames["own_loss"].to_dicts()
    assert own_loss["nats saved"] == result.metrics["larger_base_loss_saved"].mean
    assert figures.gains(result.frames["propagation"], "smaller").alt.count("base") == 3
    found = reuse.measure_action_tokens(study)
    # Both in percent of the same base, so they differ by the paired difference.
    own, control = (found.metrics[f"{name}_ndcg_gain_pct"] for name in ("intents", "free_intents"))
    beyond = found.differences["intents_ndcg_gain_pct"]["free_intents_ndcg_gain_pct"]
    assert own.mean - control.mean == pytest.approx(beyond.mean)
    assert own.seeds == control.seeds == beyond.seeds == 2
    table = {
        row["arm"]: row for row in found.frames["ablations"].filter(task="retrieval").to_dicts()
    }
    several = found.metrics["multi_task_ndcg_gain_pct"]
    assert several.seeds == 2
    pair = [row for row in ablation_rows(study.profile) if row.name in ("base", "item_alone")]
    judge = reuse.evaluated(study, pair)
    for seed, percent in several.values.items():
        base, alone = (judge.value("retrieval", arm, int(seed)) for arm in ("base", "item_alone"))
        assert percent == pytest.approx(100 * (base - alone) / base, rel=1e-6)
    # Of two mixtures with content the one whose retrieval is better in validation is judged.
    for arm in ("content", "content_sum"):
        best = [study.recommender(row.job.what, row.job.seed).history.frame["ndcg@10"].max()
                for row in ablation_rows(study.profile)
                if row.name == arm and row.job.what.task == "retrieval"]  # fmt: skip
        assert table[arm]["validation"] == pytest.approx(np.mean(best))
    content = max("content", "content_sum", key=lambda arm: table[arm]["validation"])
    for metric, arm in (("content", content), ("semantic_id", "semantic_ids")):
        smallest = found.metrics[f"{metric}_base_smallest_gain"]
        gains = found.frames["ablations"].filter(arm=arm)
        assert len(gains) == len(TASKS)
        assert smallest.mean == pytest.approx(gains["difference"].min())
        assert smallest.interval == pytest.approx((gains["low"].min(), gains["high"].min()))
    beyond = found.differences["action_token_ndcg_gain"]["shuffled_action_ndcg_gain"]
    assert beyond.mean == pytest.approx(-table["shuffled"]["difference"])
    assert {"base", "no action tokens", *TINY.ablations} == set(found.frames["ablations"]["arm"])
    assert len(found.values("action_token_ndcg_gain")) == 2
    figures.gains(found.frames["ablations"], "base")
