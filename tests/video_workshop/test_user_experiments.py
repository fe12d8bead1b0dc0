"""The experiments on user models from end to end at the smallest sizes, and its figures."""

from __future__ import annotations

import numpy as np
import pytest

from okml.errors import ParameterError
from okml.video_workshop.common import study as study_module
from okml.video_workshop.config import CPU
from okml.video_workshop.settings.users import (
    DownstreamSettings,
    UserModelSettings,
    UserPretrainingSettings,
    UsersSettings,
)
from okml.video_workshop.users import figures
from okml.video_workshop.users.arms import the_base
from okml.video_workshop.users.evaluation import TASKS
from okml.video_workshop.users.experiments import reuse
from okml.video_workshop.users.study import UsersStudy
from tests.video_workshop.users_tiny import ITEMS, watched

TINY = UsersSettings(
    base=UserModelSettings(length=6, width=16, layers=2),
    smaller=UserModelSettings(length=6, width=8, layers=1),
    pretraining=UserPretrainingSettings(steps=8, learning_rate=1e-2),
    downstream=DownstreamSettings(steps=3, learning_rate=1e-2),
    label_share=0.3,
    ablations=("shuffled", "item_alone", "intents", "intents_free", "content"),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    patch = pytest.MonkeyPatch()

    def load(settings, ties="file", draw=1):  # the second draw is another log
        return watched(users=50, events=8, seed=draw - 1)

    patch.setattr(study_module, "load_watched", load)
    # In this process: two workers would spend their time on imports.
    patch.setattr("okml.training.ahead.usable_cores", lambda: 1)
    changes = {"users": TINY, "seeds": (0, 1), "device": "cpu",
               "data": CPU.data.model_copy(update={"text": "tfidf"})}  # fmt: skip
    profile = CPU.model_copy(update=changes)
    made = UsersStudy(profile, tmp_path_factory.mktemp("run"))
    reuse.train_users(made)
    yield made
    patch.undo()


def test_training_is_before_the_cut_and_the_test_after_it(study):
    trainer = study
    events = trainer.watched.interactions
    users = events.users()
    trained = np.arange(len(events)) < trainer.train_end[users]
    assert (events.times[trained] < trainer.cut).all()
    assert (events.times[~trained] >= trainer.cut).all()
    assert (events.times[trainer.test.end] >= trainer.cut).all()
    assert 0.75 < trained.mean() < 0.85
    assert trainer.genres.sum() == ITEMS


def test_a_finished_training_is_loaded(study):
    again = UsersStudy(study.profile, study.run_dir)
    base = the_base(TINY)
    first, second = (s.pretrained(base, 0).module.state_dict() for s in (study, again))
    assert all((value == second[name]).all() for name, value in first.items())


def test_reuse(study):
    result = reuse.measure_reuse(study)
    table = result.frames["reuse"]
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
        smallest = result.metrics[f"{metric}_smallest_gain"]
        assert np.isclose(smallest.mean, min(gains.values()))
        assert smallest.low <= smallest.mean <= smallest.high
    assert figures.gains(table, "scratch").alt.count("frozen") == 3


def test_the_same_order_gives_the_same_number(study):
    result = reuse.measure_reuse(study)
    before, same, other = result.frames["order"]["NDCG@10"]
    assert same == before
    assert result.values("reordered_ndcg_change") == [pytest.approx((other - before) / 2)]


def test_a_log_with_one_order_reports_no_change(study):
    """Impressions are ordered by the millisecond: a change of 0 would be one of nothing."""
    data = study.profile.data.model_copy(update={"log": "kuairand_1k"})
    shown = UsersStudy(study.profile.model_copy(update={"data": data}), study.run_dir)
    result = reuse.measure_reuse(shown)
    assert "reordered_ndcg_change" not in result.metrics
    assert len(result.frames["order"]) == 1
    assert "no other order" in result.notes[0]
    with pytest.raises(ParameterError, match="one order"):
        shown.reordered(1)


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
    alone = 100 * table["item_alone"]["difference"] / table["base"]["value"]
    assert several.mean == pytest.approx(-alone, rel=1e-6)
    smallest = found.metrics["content_base_smallest_gain"]
    of_content = found.frames["ablations"].filter(arm="content")
    assert smallest.mean == pytest.approx(of_content["difference"].min())
    assert smallest.interval == pytest.approx((of_content["low"].min(), of_content["high"].min()))
    beyond = found.differences["action_token_ndcg_gain"]["shuffled_action_ndcg_gain"]
    assert beyond.mean == pytest.approx(-table["shuffled"]["difference"])
    assert {"base", "no action tokens", *TINY.ablations} == set(found.frames["ablations"]["arm"])
    assert len(found.values("action_token_ndcg_gain")) == 2
    figures.gains(found.frames["ablations"], "base")
