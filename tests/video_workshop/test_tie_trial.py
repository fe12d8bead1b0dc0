"""The trial that draws the order of tied events: what it changes, and what it leaves alone."""

from __future__ import annotations

from itertools import product
from statistics import mean

import numpy as np
import polars as pl
import pytest

from benchmarks.trials import ties
from okml.ledger import Outcome, judge, load_claims
from okml.paths import results_dir
from okml.seqrec.interactions import Interactions
from okml.steps import Steps
from okml.video_workshop.common import study as study_module
from okml.video_workshop.common.data import Watched
from okml.video_workshop.config import CPU
from okml.video_workshop.experiment import Rooms
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.data import WatchLogSettings
from okml.video_workshop.stream.experiments.freshness import measure_freshness, measure_shards
from tests.video_workshop.test_stream_experiments import DAY, EVENTS, TINY, USERS, WEEKS

ITEMS = 64
CLAIMS = {claim.id: claim for claim in load_claims("video_workshop")}


def watched(settings: WatchLogSettings) -> Watched:
    """Return users who walk around a ring of items."""
    rng = np.random.default_rng(0)
    steps = rng.choice([1, 2], size=(USERS, EVENTS)).cumsum(1)
    items = (rng.integers(ITEMS, size=(USERS, 1)) + steps) % ITEMS
    frame = pl.DataFrame({
        "user": np.repeat(np.arange(USERS), EVENTS), "item": items.ravel(),
        "time": TIMES.ravel(),
    })  # fmt: skip
    films = pl.DataFrame(
        {"title": [f"Film {i}" for i in range(ITEMS)], "genres": [["drama"]] * ITEMS}
    )
    interactions = Interactions.from_frame(frame, settings.tie_rule, settings.tie_seed)
    return Watched(interactions, np.full(len(interactions), 4), films)


# All events at seconds of their own, later ones of a user in later weeks.
TIMES = np.random.default_rng(1).choice(WEEKS * 7 * DAY, USERS * EVENTS, replace=False)
TIMES = np.sort(TIMES).reshape(EVENTS, USERS).T


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch) -> VideoWorkshopProfile:
    monkeypatch.setattr("okml.training.ahead.usable_cores", lambda: 1)
    weekly = TINY.weekly.model_copy(update={"more_arms": ()})
    changes = {
        "stream": TINY.model_copy(update={"weekly": weekly}), "seeds": (0,), "device": "cpu",
        "data": CPU.data.model_copy(update={"text": "tfidf"}),
        "items": CPU.items.model_copy(update={"prefix_codes": 2, "hidden": 8}),
    }  # fmt: skip
    return CPU.model_copy(update=changes)


@pytest.fixture
def only_freshness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ties.ROOMS, "stream", (measure_freshness,))


@pytest.mark.slow
@pytest.mark.usefixtures("only_freshness")
def test_the_order_is_drawn_for_all_and_numbers_are_the_chapters_where_no_events_are_tied(
    profile, monkeypatch, tmp_path
):
    asked = []

    def load(settings):
        asked.append((settings.tie_rule, settings.tie_seed))
        return watched(settings)

    monkeypatch.setattr(study_module, "load_watched", load)
    monkeypatch.setattr(ties, "load_watched", load)
    in_file, drawn = (
        ties.measured(ties.in_order(profile, order), tmp_path / order, ["stream"])
        for order in ("file", "drawn")
    )
    assert asked == [("file", 0), ("random", ties.DRAW)]
    assert profile.data.tie_seed != ties.DRAW

    own = Steps(profile, tmp_path / "own", "cpu")
    own.results["freshness"] = measure_freshness(Rooms(profile, tmp_path / "own").stream)
    assert drawn.metrics == in_file.metrics == own.record({}).metrics
    trial = ties.beside(profile, in_file, drawn, tmp_path / "trial.json")
    assert trial.tied == 0
    [(claim, (first, second))] = trial.outcomes.items()
    assert claim == "video_workshop.freshness"
    assert first == second == judge(CLAIMS[claim], in_file).outcome
    assert ties.TieTrial.read(tmp_path / "trial.json") == trial


@pytest.mark.slow
def test_the_chosen_rate_finds_on_the_served_periods_what_the_chapter_measures(
    profile, monkeypatch, tmp_path
):
    monkeypatch.setattr(study_module, "load_watched", watched)
    rates = ties.measured_rates(profile, tmp_path, "file")
    tried = set(profile.stream.weekly.choice.rates)
    assert {(rate.updates, rate.factor) for rate in rates} == set(product((1.0, 2.0), tried))
    chosen = {rate.updates: rate.hr10 for rate in rates if rate.chosen}
    stream = Rooms(profile, tmp_path / "again").stream
    frame = measure_shards(stream).frames["shards"]
    assert [chosen[updates][0] for updates in (1.0, 2.0)] == frame["HR@10"].to_list()


def test_the_share_of_one_way_counts_neighbors_of_one_second_that_enough_users_have():
    # Twelve users saw 1 before 2 in one second, four after it; 3 follows later, 5 and 6 are rare.
    orders = [(1, 2)] * 12 + [(2, 1)] * 4
    rows = [(user, item, 0) for user, pair in enumerate(orders) for item in pair]
    rows += [(user, 3, 1) for user in range(16)] + [(0, 5, 2), (0, 6, 2)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    assert ties.one_way(Interactions.from_frame(frame)) == 12 / 16


def test_the_recorded_trial_is_as_the_digest_says():
    record = ties.TieTrial.read(results_dir() / "benchmarks" / "tie_trial.json")
    holds = {Outcome.DIRECTION_HOLDS, Outcome.REPRODUCED}
    held = {claim: drawn for claim, (file, drawn) in record.outcomes.items() if file in holds}
    assert len(held) > 3
    assert {*held.values()} <= holds
    for order in ("file", "drawn"):
        means = {(r.updates, r.factor): mean(r.hr10) for r in record.rates if r.order == order}
        seldom, often = sorted({updates for updates, _ in means})
        best = {
            each: max((pair for pair in means if pair[0] == each), key=means.__getitem__)
            for each in (seldom, often)
        }
        assert abs(means[best[seldom]] - means[best[often]]) < 0.002
        chosen = {r.updates: r.factor for r in record.rates if r.order == order and r.chosen}
        share = {"file": 0.3, "drawn": 1.0}[order]
        for updates, (_, factor) in best.items():
            assert factor == pytest.approx(share * chosen[updates], rel=0.2)
