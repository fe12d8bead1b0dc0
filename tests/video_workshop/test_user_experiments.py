"""The experiments E2 and E7 from end to end at the smallest sizes, and their figures."""

from __future__ import annotations

import numpy as np
import pytest

from okml.errors import ParameterError
from okml.video_workshop.common import study as study_module
from okml.video_workshop.config import CPU
from okml.video_workshop.settings.users import (
    DownstreamSettings,
    ScalingSettings,
    UserModelSettings,
    UserPretrainingSettings,
    UsersSettings,
)
from okml.video_workshop.users import figures
from okml.video_workshop.users.arms import the_base
from okml.video_workshop.users.evaluation import TASKS
from okml.video_workshop.users.experiments import reuse, scaling
from okml.video_workshop.users.study import UsersStudy
from tests.video_workshop.users_tiny import ITEMS, watched

TINY = UsersSettings(
    base=UserModelSettings(length=6, width=16, layers=2),
    smaller=UserModelSettings(length=6, width=8, layers=1),
    pretraining=UserPretrainingSettings(steps=8, learning_rate=1e-2),
    downstream=DownstreamSettings(steps=3, learning_rate=1e-2),
    label_share=0.3,
    extras=(
        "lora",
        "shuffled",
        "untrained",
        "single",
        "item_alone",
        "intents",
        "intents_free",
        "latest",
        "interleaved",
        "consolidated",
    ),
    scaling=ScalingSettings(
        models=((4, 1), (8, 1), (16, 1)), shares=(0.5, 1.0), steps=10, refits=20
    ),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    patch = pytest.MonkeyPatch()

    def load(settings, ties="file", draw=1):  # the second draw is another log
        return watched(users=50, events=8, seed=draw - 1)

    patch.setattr(study_module, "load_watched", load)
    # In this process: two workers would spend their time on imports.
    patch.setattr("okml.training.ahead.usable_cores", lambda: 1)
    profile = CPU.model_copy(update={"users": TINY, "seeds": (0, 1), "device": "cpu"})
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
    assert {"scratch", "frozen", "full", "lora", "frozen, untrained", "consolidated"} <= set(
        retrieval["arm"]
    )
    assert retrieval.filter(arm="frozen")["seeds"].item() == 2
    for labels, metric in (("", "reuse"), (", all labels", "reuse_all_labels")):
        of = {
            arm: dict(table.filter(arm=f"{arm}{labels}").select("task", "value").iter_rows())
            for arm in ("full", "scratch")
        }
        gains = {task: of["full"][task] - of["scratch"][task] for task in TASKS}
        assert np.isclose(np.mean(result.values(f"{metric}_ndcg_gain")), gains["retrieval"])
        # All recommenders gain exactly where the one that gains least for sure does.
        smallest = result.metrics[f"{metric}_smallest_gain"]
        assert any(np.isclose(smallest.mean, gain) for gain in gains.values())
        assert smallest.low <= min(gains.values())
    assert figures.gains(table, "scratch").alt.count("frozen") >= 3


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
    gains = result.frames["propagation"].to_dicts()
    lowest = min(gains, key=lambda gain: gain["low"])
    smallest = result.metrics["propagation_smallest_gain"]
    assert smallest.mean == pytest.approx(lowest["difference"])
    assert smallest.interval == pytest.approx((lowest["low"], lowest["high"]))
    (own_loss,) = result.frames["own_loss"].to_dicts()
    assert own_loss["nats saved"] == result.metrics["larger_base_loss_saved"].mean
    swaps = result.frames["swaps"]
    assert len(swaps) == 2 * 2 * 2
    assert "retrieval" in str(swaps["task"])
    figures.propagation(result.frames["propagation"])
    found = reuse.measure_action_tokens(study)
    # Both in percent of the same base, so they differ by the paired difference.
    own, control = (found.metrics[f"{name}_ndcg_gain_pct"] for name in ("intents", "free_intents"))
    beyond = found.differences["intents_ndcg_gain_pct"]["free_intents_ndcg_gain_pct"]
    assert own.mean - control.mean == pytest.approx(beyond.mean)
    assert own.seeds == control.seeds == beyond.seeds == 2
    table = {
        row["arm"]: row for row in found.frames["ablations"].filter(task="retrieval").to_dicts()
    }
    by_seed = found.metrics["item_alone_ndcg_gain_pct"]
    assert by_seed.seeds == 1
    beyond = found.differences["action_token_ndcg_gain"]["shuffled_action_ndcg_gain"]
    assert beyond.mean == pytest.approx(-table["shuffled"]["difference"])
    assert {
        "base",
        "no action tokens",
        "shuffled",
        "single",
        "item_alone",
        "intents",
        "intents_free",
        "latest",
        "interleaved",
    } == set(found.frames["ablations"]["arm"])
    assert len(found.values("action_token_ndcg_gain")) == 2
    figures.gains(found.frames["ablations"], "base")


def test_scaling(study):
    result = scaling.measure_scaling(study)
    points = result.frames["points"]
    assert len(points) == 6
    assert (points["low"] <= points["loss"]).all()
    assert (points["loss"] < 1.5 * np.log(ITEMS)).all()
    gained = points["loss"][0] - points["loss"].min()  # over the first, which is the smallest
    assert result.values("scaling_loss_decrease") == pytest.approx([gained])
    assert set(result.frames["laws"]["law in"]) >= {"parameters", "both"}
    assert "fitted to 6 points" in result.notes[0]
    # Five parameters and six points leave nothing to tell a law from a constant by.
    assert "no law to read" in result.notes[0]
    assert result.frames["growth"]["removed"].to_list() == [None] * 3
    assert "growth_loss_removed" not in result.metrics
    figures.scaling(points)


def test_a_law_is_read_where_points_follow_one_and_nowhere_else():
    """Sixteen points of a known law; the same points of one number and noise."""
    n, d = (grid.ravel() for grid in np.meshgrid(10.0 ** np.arange(3, 7), 10.0 ** np.arange(4, 8)))
    noise = 1e-3 * np.random.default_rng(0).standard_normal(len(n))
    sizes = {"parameters": n, "data": d}
    for losses, there_is in (
        (2 + (50 / n) ** 0.3 + (500 / d) ** 0.4 + noise, True),
        (2 + noise, False),
        (2 + (500 / d) ** 0.4 + noise, False),  # its exponent of parameters can be anything
    ):
        law, constant = scaling.fit_law(losses, sizes), scaling.fit_law(losses, {})
        assert scaling.readable(law, constant) is there_is
