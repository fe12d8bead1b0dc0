"""E6 from end to end at the smallest sizes, and its figures."""

from __future__ import annotations

import gc

import numpy as np
import polars as pl
import pytest

from okml.data.logs import EVENT_SCHEMA, EventLog
from okml.seqrec.interactions import Interactions
from okml.video_workshop import study as study_module
from okml.video_workshop.config import CPU
from okml.video_workshop.data import Watched
from okml.video_workshop.experiments import stream as experiments
from okml.video_workshop.figures import stream as figures
from okml.video_workshop.stream import worlds
from okml.video_workshop.stream.runs import Job, StreamRuns
from okml.video_workshop.stream.settings import (
    LaunchSettings,
    SessionSettings,
    StrategySettings,
    StreamSettings,
    StreamTrainingSettings,
    WeeklySettings,
)
from okml.video_workshop.stream.windows import DAY
from okml.video_workshop.study import Study
from okml.video_workshop.users.settings import UserModelSettings

ITEMS, USERS, WEEKS, EVENTS = 16, 30, 5, 40
TRAINING = StreamTrainingSettings(
    model=UserModelSettings(length=6, width=8, layers=1, heads=1),
    batch=32, learning_rate=1e-2, base_epochs=1, update_epochs=1,
)  # fmt: skip
STRATEGIES = StrategySettings(retrain_every=2, exemplars=20)
TINY = StreamSettings(
    weekly=WeeklySettings(
        training=TRAINING,
        first=3,
        rows=60,
        launches=LaunchSettings(share=0.2, least_events=5, first=3, last=3),
        arms=("stale", "incremental", "rehearsal", "retrain"),
        more_arms=("distillation",),
        strategies=STRATEGIES,
        new_rows=("content_knn",),
        shards=(2.0,),
    ),
    sessions=(
        SessionSettings(
            log="ader_diginetica", items=12, sessions=12, periods=3, training=TRAINING,
            arms=("no_dropout", "distillation"), strategies=STRATEGIES,
        ),
    ),
)  # fmt: skip


def watched() -> Watched:
    """Return users who walk around a ring of items for five weeks."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        items = 1 + (rng.integers(ITEMS) + np.cumsum(rng.choice([1, 2], EVENTS))) % ITEMS
        times = np.sort(rng.integers(WEEKS * 7 * DAY, size=EVENTS))
        rows += [(user, int(item), int(time)) for item, time in zip(items, times, strict=True)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    films = pl.DataFrame(
        {
            "title": [f"Film {i % 4} ({1990 + i})" for i in range(ITEMS)],
            "genres": [[f"genre {i % 3}"] for i in range(ITEMS)],
        }
    )
    interactions = Interactions.from_frame(frame)
    return Watched(interactions, np.full(len(interactions), 4), films)


def sessions(name: str) -> EventLog:
    """Return sessions of four periods of a week."""
    rng = np.random.default_rng(0)
    rows = [
        (f"s{period}-{number}", f"i{rng.integers(15)}", period * 7 * DAY, "click", None)
        for period in range(4)
        for number in range(20)
        for _ in range(4)
    ]
    frame = pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")
    return EventLog(name, frame, 7 * DAY, "made by hand", "none", clock="period")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(study_module, "load_watched", lambda settings: watched())
    patch.setattr(worlds, "load", sessions)
    # In this process: two workers would spend their time on imports.
    patch.setattr("okml.training.ahead.usable_cores", lambda: 1)
    data = CPU.data.model_copy(update={"text": "tfidf"})
    gc.freeze()  # as in a worker: the collection after each training is most of its time here
    changes = {"stream": TINY, "seeds": (0,), "bootstrap": 100, "device": "cpu", "data": data}
    yield Study(CPU.model_copy(update=changes), tmp_path_factory.mktemp("run"))
    gc.unfreeze()
    patch.undo()


def test_a_run_that_is_kept_is_not_made_again(study, monkeypatch):
    runs = StreamRuns(study)
    job = Job(experiments.UPDATED, 0)
    first = runs.passage(*job)
    monkeypatch.setattr(StreamRuns, "_run", None)
    again = StreamRuns(study).passage(*job)
    assert (first.ranks == again.ranks).all()
    assert first.efforts == again.efforts
    assert np.isfinite(first.ranks).all()


def test_shards_are_judged_on_the_same_rows(study):
    runs = StreamRuns(study)
    whole, halves = runs.world(), runs.world(shards=2.0)
    assert (whole.rows.end == halves.rows.end).all()
    assert halves.stream.count - halves.first == 2 * (whole.stream.count - whole.first)
    assert (whole.ages >= 0).all()
    new = np.isin(whole.targets, whole.launched)
    assert (whole.drawn | new).all()


def test_freshness(study):
    result = experiments.measure_freshness(study)
    strategies = result.frames["strategies"]
    rows = {row["arm"]: row for row in strategies.to_dicts()}
    gained = rows["incremental"]["HR@10"] - rows["stale"]["HR@10"]
    assert result.values("incremental_hr10_gain")[0] == pytest.approx(gained)
    old = rows["rehearsal"]["HR@10"] - rows["stale"]["HR@10"]
    assert result.values("rehearsal_hr10_gain")[0] == pytest.approx(old)
    assert rows["incremental"]["steps"] == rows["rehearsal"]["steps"] > 0
    ratio = rows["incremental"]["samples"] / rows["retrain"]["samples"]
    assert result.values("incremental_cost_ratio") == [ratio]
    assert rows["stale"]["samples"] == 0
    curves = result.frames["curves"]
    assert set(curves["period"]) == {3, 4}
    assert curves.filter(period=3)["samples before"].sum() == 0
    assert "left alone" in figures.curves(curves).alt
    assert "retrained" in figures.quality_against_cost(strategies).alt
    assert "found" in figures.ages(result.frames["ages"]).alt


def test_new_items(study):
    result = experiments.measure_new_items(study)
    alive = result.frames["alive"]
    assert (alive["expiring"] <= alive["appeared"]).all()
    assert set(result.frames["new_rows"]["arm"]) == {
        "incremental", "incremental content_knn", "incremental expiring",
    }  # fmt: skip
    assert len(result.frames["alignment"]) == 3
    assert figures.ages(result.frames["new_row_ages"]).alt


def test_intervals_of_updates(study):
    frame = experiments.measure_shards(study).frames["shards"]
    assert frame["days between updates"].to_list() == [7.0, 3.5]


def test_sessions(study):
    frame = experiments.measure_sessions(study).frames["sessions"]
    assert set(frame["period"]) == {1, 2}
    assert frame["Recall@20"].is_between(0, 1).all()
    assert "ader_diginetica" in figures.sessions(frame).alt
    assert "no log" in figures.sessions(frame.clear()).alt
