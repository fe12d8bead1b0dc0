"""The experiments on streams from end to end at the smallest sizes, and its figures."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from okml.data.logs import EVENT_SCHEMA, EventLog
from okml.seqrec.comparison import RankedArms
from okml.seqrec.interactions import Interactions
from okml.video_workshop.common import study as study_module
from okml.video_workshop.common.data import Watched
from okml.video_workshop.config import CPU
from okml.video_workshop.settings.stream import (
    ChoiceSettings,
    LaunchSettings,
    SessionSettings,
    ShockSettings,
    StrategySettings,
    StreamSettings,
    StreamTrainingSettings,
    WeeklySettings,
)
from okml.video_workshop.settings.users import UserModelSettings
from okml.video_workshop.stream import figures
from okml.video_workshop.stream import served as served_module
from okml.video_workshop.stream.arms import (
    UPDATED,
    StreamArm,
    StreamJob,
    all_jobs,
    choice_jobs,
)
from okml.video_workshop.stream.experiments import freshness as experiments
from okml.video_workshop.stream.experiments import news
from okml.video_workshop.stream.periods import DAY
from okml.video_workshop.stream.prequential import Passage, run_prequential
from okml.video_workshop.stream.strategies import Incremental
from okml.video_workshop.stream.study import StreamStudy
from tests.profiles import changed

ITEMS, USERS, WEEKS, EVENTS = 16, 30, 6, 40
TRAINING = StreamTrainingSettings(
    model=UserModelSettings(length=6, width=8, layers=1, heads=1),
    batch=32, learning_rate=1e-2, base_epochs=1, update_epochs=1,
)  # fmt: skip
STRATEGIES = StrategySettings(retrain_every=2, exemplars=20)
TINY = StreamSettings(
    weekly=WeeklySettings(
        training=TRAINING,
        first=3,
        choice=ChoiceSettings(rates=(0.1, 1.0), periods=2),
        rows=60,
        launches=LaunchSettings(share=0.2, least_events=5, first=3, last=3),
        shock=ShockSettings(period=5, genres=1),
        arms=("stale", "incremental", "rehearsal", "retrain"),
        more_arms=("distillation",),
        strategies=STRATEGIES,
        tables=("hybrid_content", "hybrid_sid", "hybrid_shuffled"),
        shards=(2.0,),
    ),
    sessions=(
        SessionSettings(
            log="ader_diginetica", items=12, sessions=12, periods=3, training=TRAINING,
            rates=(0.3, 1.0, 3.0),
            more_arms=("replay", "repeat", "distillation_all"), strategies=STRATEGIES,
        ),
    ),
)  # fmt: skip


def watched() -> Watched:
    """Return users who walk around a ring of items for six weeks."""
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
    patch.setattr(served_module, "load", sessions)
    # In this process: two workers would spend their time on imports.
    patch.setattr("okml.training.ahead.usable_cores", lambda: 1)
    data = CPU.data.model_copy(update={"text": "tfidf"})
    items = CPU.items.model_copy(update={"prefix_codes": 2, "hidden": 8})
    changes = {
        "stream": TINY,
        "items": items,
        "seeds": (0,),
        "device": "cpu",
        "data": data,
    }
    yield StreamStudy(CPU.model_copy(update=changes), tmp_path_factory.mktemp("run"))
    patch.undo()


def test_a_run_that_is_kept_is_not_made_again(study, monkeypatch):
    job = StreamJob(UPDATED, 0)
    first = study.passage(job)
    monkeypatch.setattr(StreamStudy, "_run", None)
    again = StreamStudy(study.profile, study.run_dir).passage(job)
    assert (first.ranks == again.ranks).all()
    assert first.efforts == again.efforts
    assert np.isfinite(first.ranks).all()


def test_shards_are_judged_on_the_same_rows(study):
    whole, halves = study.served(), study.served(shards=2.0)
    assert (whole.rows.end == halves.rows.end).all()
    assert halves.stream.count - halves.first == 2 * (whole.stream.count - whole.first)
    assert (whole.ages >= 0).all()
    new = np.isin(whole.targets, whole.launched)
    assert (whole.drawn | new).all()


def test_content_is_fitted_on_what_comes_before_the_first_served_period(study):
    stream = study.served().stream
    before = stream.interactions.items[stream.period < 3]
    known = study.tables().known
    assert np.flatnonzero(known).tolist() == sorted(set(before.tolist()))
    assert study.tables().counts.sum() == len(before)
    assert len(study.served().launched) == 3
    assert not known[study.served().launched].any()


def test_rates_are_chosen_before_the_first_served_period(study):
    """The oracle is the served stream: the early one is the part of it that a base learns."""
    served, early = study.served().stream.interactions, study.served(early=True)
    assert (early.first, early.stream.count) == (1, 3)
    assert np.unique(early.period).tolist() == [1, 2]
    start = study.watched.interactions.times.min()
    before = served.times < start + 3 * 7 * DAY
    assert (early.stream.interactions.items == served.items[before]).all()
    assert (early.stream.interactions.times == served.times[before]).all()
    base = served.items[served.times < start + 7 * DAY]
    assert study.tables(early=True).counts.sum() == len(base)


def test_early_periods_may_have_a_part_of_the_users(study):
    """The base sees all of them; whoever stays in the periods stays with every event."""
    weekly = TINY.weekly.model_copy(update={"choice": ChoiceSettings(periods=2, users=0.3)})
    log = study.watched.interactions
    all_of_them, few = (
        study.served(early=True),
        served_module.weekly_stream(log, weekly, early=True),
    )
    events = [np.bincount(of.stream.interactions.users()[of.stream.period >= 1], minlength=USERS)
              for of in (all_of_them, few)]  # fmt: skip
    stays = events[1] > 0
    assert 0.1 * USERS < stays.sum() < 0.5 * USERS
    assert (events[1][stays] == events[0][stays]).all()
    earlier = [(of.stream.period < 1).sum() for of in (all_of_them, few)]
    assert earlier[0] == earlier[1] > 0


def test_the_rate_with_the_best_hit_rate_at_10_is_chosen(study, monkeypatch):
    """By hand: of four drawn requests one rate finds two, the other three, and no launched item."""
    drawn = study.served(early=True).drawn
    two, three = np.full(len(drawn), 1.0), np.full(len(drawn), 11.0)
    two[drawn], three[drawn] = (np.resize(ranks, drawn.sum()) for ranks in
                                ([1.0, 2.0, 11.0, 40.0], [10.0, 10.0, 10.0, 11.0]))  # fmt: skip
    for ranks, best in (({1.0: two, 0.1: three}, 0.1), ({1.0: three, 0.1: two}, 1.0)):
        passage = lambda self, job, ranks=ranks: Passage(ranks[job.rate], ())  # noqa: E731
        monkeypatch.setattr(StreamStudy, "passage", passage)
        assert study.rate(UPDATED) == best


def test_sessions_choose_a_rate_by_recall_at_20(study, monkeypatch):
    """By hand: the middle rate finds all among twenty, the last one half among ten."""
    size = len(study.served(0).rows)
    ranks = {0.3: np.full(size, 21.0), 1.0: np.full(size, 20.0),
             3.0: np.resize([10.0, 21.0], size)}  # fmt: skip
    monkeypatch.setattr(StreamStudy, "passage", lambda self, job: Passage(ranks[job.rate], ()))
    assert study.rate(StreamArm("incremental", log=0)) == 1


def test_arms_with_one_seed_have_the_rate_of_plain_updates_on_sessions(study):
    plain, distilled = (StreamArm(name, log=0) for name in ("incremental", "distillation"))
    own = {arm: {job.arm for job in choice_jobs(study.profile, arm)} for arm in (plain, distilled)}
    assert own == {plain: {plain}, distilled: {distilled}}
    for name in ("replay", "repeat", "distillation_all"):
        arm = StreamArm(name, log=0)
        assert choice_jobs(study.profile, arm) == choice_jobs(study.profile, plain)


def test_a_rate_that_stands_alone_is_taken(study):
    weekly = changed(TINY.weekly, choice=ChoiceSettings(rates=(0.3,), periods=2))
    sessions = (changed(TINY.sessions[0], rates=(0.1,)),)
    alone = changed(study.profile, stream=changed(TINY, weekly=weekly, sessions=sessions))
    runs = StreamStudy(alone, study.run_dir)
    assert [runs.rate(arm) for arm in (UPDATED, StreamArm("incremental", log=0))] == [0.3, 0.1]


def test_a_run_is_served_with_the_chosen_rate(study):
    """The oracle is the runner with that rate; with the other it finds other ranks."""
    for arm in (UPDATED, StreamArm("incremental", shards=2.0)):
        job, served = StreamJob(arm, 0), study.served(shards=arm.shards)
        same = []
        for rate in (study.rate(arm), 1.1 - study.rate(arm)):  # of 0.1 and 1
            trainer = study.trainer(job)
            trainer.update_rate = rate
            told = run_prequential(
                trainer, Incremental(), study.base(job), served.rows, served.first
            )
            same.append((told.ranks == study.passage(job).ranks).all())
        assert same == [True, False]


def test_all_updates_of_a_log_are_given_the_same_rates(study):
    """Early periods choose but for sessions and other intervals, which pass the served ones."""
    for job in all_jobs(study.profile):
        trials = [trial for trial in study.needs(job) if trial.rate is not None]
        updates = job.arm.strategy not in ("stale", "retrain")
        tried = [0.1, 1.0] if job.arm.log is None else [0.3, 1.0, 3.0]
        assert [trial.rate for trial in trials] == (tried if updates else [])
        early = job.arm.log is None and job.arm.shards == 1
        assert all(trial.early == early for trial in trials)
    calm, shocked = (study.needs(StreamJob(StreamArm("incremental", shock=shock), 0))
                     for shock in (False, True))  # fmt: skip
    assert calm == shocked


def test_a_rate_needs_an_update_to_be_judged_by():
    with pytest.raises(ValueError, match="after a first period, and after an update"):
        WeeklySettings(choice=ChoiceSettings(periods=1))
    WeeklySettings(choice=ChoiceSettings(periods=2))


def test_a_base_serves_all_arms_of_its_model(study):
    """A shock comes after the base: in both worlds it is trained on the same events."""
    plain, shocked = study.served().stream, study.served(shock=True).stream
    a, b = (stream.interactions.items[stream.period < 5] for stream in (plain, shocked))
    assert (a == b).all()
    assert len(shocked.interactions) < len(plain.interactions)


def test_users_by_what_is_known_of_them(study):
    """The oracle walks through the requests."""
    world = study.served()
    interactions, period = world.stream.interactions, world.stream.period
    slices = world.user_slices()
    assert list(slices) == ["users of the base", "new users", "under 5 events"]
    for row, (user, end) in enumerate(zip(world.rows.user, world.rows.end, strict=True)):
        first = interactions.offsets[user]
        new = bool(period[first] >= 3)
        expected = [not new, new, int(end) - int(first) < 5]
        assert [bool(part[row]) for part in slices.values()] == expected


def test_freshness(study):
    result = experiments.measure_freshness(study)
    strategies = result.frames["strategies"]
    rows = {row["arm"]: row for row in strategies.to_dicts()}
    gained = rows["incremental"]["HR@10"] - rows["stale"]["HR@10"]
    assert result.values("incremental_hr10_gain")[0] == pytest.approx(gained)
    old = rows["rehearsal"]["HR@10"] - rows["stale"]["HR@10"]
    assert result.values("rehearsal_hr10_gain")[0] == pytest.approx(old)
    beyond = result.differences["incremental_hr10_gain"]["rehearsal_hr10_gain"]
    assert beyond.mean == pytest.approx(gained - old)
    assert rows["incremental"]["steps"] == rows["rehearsal"]["steps"] > 0
    ratio = rows["incremental"]["samples"] / rows["retrain"]["samples"]
    assert result.values("incremental_cost_ratio") == [ratio]
    assert rows["stale"]["samples"] == 0
    curves = result.frames["curves"]
    assert set(curves["seed"]) == {0}
    assert set(curves["period"]) == {3, 4, 5}
    assert "left alone" in figures.curves(curves).alt
    users = result.frames["users"].filter(arm="stale").to_dicts()[0]
    old, new = (users["n users of the base"], users["n new users"])
    mean = sum(
        (users[name] or 0) * users[f"n {name}"] for name in ("users of the base", "new users")
    )
    assert mean / (old + new) == pytest.approx(rows["stale"]["HR@10"])


def test_a_curve_is_the_difference_of_the_same_seeds():
    """By hand: the arm has seed 0 alone, where it leads by 0.1 and then by 0.3: 0.2 in the mean.

    Against the mean of both seeds left alone it would fall behind.
    """
    rows = [
        ("stale", "left alone", seed, period, 0.1 + seed) for seed in (0, 1) for period in (3, 4)
    ]
    rows += [("replay", "held", 0, 3, 0.2), ("replay", "held", 0, 4, 0.4)]
    rows += [("incremental", "updated", seed, period, 0.6 + seed / 2) for seed in (0, 1)
             for period in (3, 4)]  # fmt: skip
    frame = pl.DataFrame(rows, ["arm", "label", "seed", "period", "HR@10"], orient="row")
    # Updated: 0.5 with seed 0 and 0 with seed 1.
    assert "held +0.200, updated +0.250" in figures.curves(frame).alt


def test_new_items(study):
    result = news.measure_new_items(study)
    ages = result.frames["ages"]
    arms = ["incremental", "incremental hybrid_content", "incremental hybrid_sid",
            "incremental hybrid_shuffled"]  # fmt: skip
    assert result.frames["tables"]["arm"].to_list() == arms
    assert ages["arm"].to_list() == [*arms, "incremental 2 a period"]
    served = study.served()
    young = np.isin(served.targets, served.launched) & (served.ages < 7)
    assert ages["n 0-7 d"].to_list() == [young.sum()] * 5
    tables = ("hybrid_content", "hybrid_shuffled")
    often = StreamArm("incremental", shards=2.0)
    arms = (*(StreamArm("incremental", table=table) for table in tables), often)
    found = (study.passage(StreamJob(arm, 0)).ranks[young] <= 10 for arm in arms)
    content, shuffled, rows = (hits.mean() for hits in found)
    gain, control = "content_young_hr10_gain", "shuffled_young_hr10_gain"
    assert result.metrics[gain].mean == pytest.approx(content - rows)
    assert result.metrics[control].mean == pytest.approx(shuffled - rows)
    assert result.differences[gain][control].mean == pytest.approx(content - shuffled)
    assert "own row + content, updated" in figures.ages(ages).alt


def test_a_gain_on_new_items_has_the_wider_interval():
    """By hand: all gains are those of one of three items, so items tell far less than 30 users."""
    item, users = np.repeat([1, 2, 3], 10), np.arange(30)
    ranks = RankedArms(users)
    for seed in (0, 1):
        ranks.add("content", seed, np.where(item == 1, 1.0, 99.0))
        ranks.add("rows", seed, np.full(30, 99.0))
    wide, of_users = (news._over_items(ranks, "content", "rows", item),
                      ranks.difference("content", "rows", "hr@10"))  # fmt: skip
    assert [wide.mean, of_users.mean] == pytest.approx([1 / 3, 1 / 3])
    width = {found: high - low for found, (low, high) in
             (("items", wide.interval), ("users", of_users.interval))}  # fmt: skip
    assert width["items"] > 2 * width["users"]
    # The other way round: items of one request each, and few users.
    few = RankedArms(item)
    for seed in (0, 1):
        few.add("content", seed, np.where(item == 1, 1.0, 99.0))
        few.add("rows", seed, np.full(30, 99.0))
    spread = news._over_items(few, "content", "rows", users).interval
    assert spread == few.difference("content", "rows", "hr@10").interval


def test_a_shift_of_taste(study):
    """By hand: the lead of updates over the model left alone, in period 4 and from the shift on.

    No model has been updated in period 3. Films of the favorite genre, of which there are fewer
    requests after the shift, do not count.
    """
    result = news.measure_shock(study)
    curves = result.frames["shock"]
    assert curves.filter("shifted")["period"].unique().to_list() == [5]
    calm, shocked = study.served(), study.served(shock=True)
    genre = np.arange(-1, ITEMS) % 3  # of item 1 it is 0
    events = np.bincount(calm.stream.interactions.items, minlength=ITEMS + 1)
    favorite = max(range(3), key=lambda number: events[1:][genre[1:] == number].sum())
    changes, leads = {}, []
    for served, shock in ((shocked, True), (calm, False)):
        gained = {period: [] for period in (3, 4, 5)}
        stale, updated = (study.passage(StreamJob(StreamArm(name, shock=shock), 0)).ranks
                          for name in ("stale", "incremental"))  # fmt: skip
        rows = zip(stale, updated, served.targets, served.period, served.drawn, strict=True)
        for old, new, item, period, drawn in rows:
            if drawn and genre[item] != favorite:
                gained[period].append((new <= 10) - int(old <= 10))
        changes[shock] = np.mean(gained[5]) - np.mean(gained[4])
        leads.append([np.mean(gained[4]), np.mean(gained[5])])
    before, after, moved, drifted = result.frames["leads"]["difference"]
    assert [before, after] == pytest.approx(leads[0])
    assert moved == result.metrics["shift_lead_gain"].mean == pytest.approx(changes[True])
    assert drifted == result.metrics["calm_lead_gain"].mean == pytest.approx(changes[False])
    beyond = result.differences["shift_lead_gain"]["calm_lead_gain"]
    assert beyond.mean == pytest.approx(moved - drifted)
    assert "left alone" in figures.shock(curves).alt


def test_intervals_of_updates(study, monkeypatch):
    result = experiments.measure_shards(study)
    frame = result.frames["shards"]
    assert frame["days between updates"].to_list() == [7.0, 3.5]
    seldom, often = frame["HR@10"]
    assert result.metrics["frequent_update_hr10_gain"].mean == pytest.approx(often - seldom)
    assert frame["rate"].is_in([1.0, 0.1]).all()
    assert result.values("update_rates_at_an_end") == [2]
    told = f"from 7 to 3.5 days {often - seldom:z.4f}"
    assert told in figures.update_intervals(result).alt
    monkeypatch.setattr(StreamStudy, "rate", lambda self, arm: 0.3)
    assert experiments.measure_shards(study).values("update_rates_at_an_end") == [0]


def test_the_first_period_trains_the_base_and_every_later_one_is_asked_about(study):
    (settings,) = study.profile.stream.sessions
    world = served_module.session_stream(settings)
    asked = np.unique(world.stream.period[world.rows.end])
    assert asked.tolist() == [*range(world.first, settings.periods)] == [1, 2]


def test_sessions(study):
    (settings,) = study.profile.stream.sessions
    result = experiments.measure_sessions(study)
    frame = result.frames["sessions"]
    assert set(frame["period"]) == {1, 2}
    rates = dict(frame.select("arm", "rate").unique().iter_rows())
    chosen = [study.rate(StreamArm(name, log=0)) for name in ("incremental", "distillation")]
    assert [rates["incremental"], rates["distillation"], rates["retrain"]] == [*chosen, None]
    assert rates["replay"] == rates["repeat"] == rates["distillation_all"] == chosen[0]
    at_an_end = sum(rate in (0.3, 3.0) for rate in chosen)
    assert result.values("ader_diginetica_rates_at_an_end") == [at_an_end]
    ranks = {name: study.passage(StreamJob(StreamArm(name, log=0), 0)).ranks
             for name in (*settings.arms, *settings.more_arms)}  # fmt: skip
    recall = {name: (found <= 20).mean() for name, found in ranks.items()}
    gain, plain = (f"ader_diginetica_{name}_recall20_gain" for name in ("distillation", "update"))
    lacks = recall["distillation"] - recall["retrain"]
    assert result.metrics[gain].mean == pytest.approx(lacks)
    beyond = recall["distillation"] - recall["incremental"]
    assert result.differences[gain][plain].mean == pytest.approx(beyond)
    for name in settings.more_arms:
        lacks = recall[name] - recall["retrain"]
        found = result.metrics[f"ader_diginetica_{name}_recall20_gain"]
        assert found.mean == pytest.approx(lacks)
    assert frame["Recall@20"].is_between(0, 1).all()
    assert "ader_diginetica" in figures.sessions(frame).alt
    assert "no log" in figures.sessions(frame.clear()).alt
