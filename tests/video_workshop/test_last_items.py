"""Everybody's last item: the split, the masks, what leaks, the trained arms and their control."""

import numpy as np
import polars as pl
import pytest
import torch

from okml.seqrec.interactions import Interactions
from okml.seqrec.metrics import hit, ndcg
from okml.seqrec.rows import all_rows
from okml.seqrec.scorers import product_scorer
from okml.seqrec.splits import Split, leave_one_out
from okml.video_workshop.common import study as study_module
from okml.video_workshop.common.data import Watched
from okml.video_workshop.config import CPU
from okml.video_workshop.items.arms import ItemJob, last_item_jobs
from okml.video_workshop.items.experiments.last_items import (
    later_training_share,
    measure_last_items,
)
from okml.video_workshop.items.study import ItemsStudy, noise_like
from okml.video_workshop.settings.data import WatchLogSettings
from okml.video_workshop.settings.items import LeaveOneOutSettings
from okml.video_workshop.settings.users import UserModelSettings

ITEMS, USERS, EVENTS = 30, 60, 8
TINY = LeaveOneOutSettings(
    model=UserModelSettings(
        length=6, width=16, layers=1, heads=1, dropout=0.0, actions=False, requests=False
    ),
    arms=("id", "both", "noise"),
    once=("content",),
    epochs=12,
    batch=10,
    learning_rate=3e-2,
)
# User, item, time; the histories interleave, and a user of two events is only trained on.
BY_HAND = [
    *((0, "a", 1), (0, "b", 4), (0, "c", 6), (0, "d", 7)),
    *((1, "b", 2), (1, "a", 3), (1, "c", 5)),
    *((2, "d", 8), (2, "a", 9), (2, "b", 10), (2, "c", 11)),
    *((3, "a", 12), (3, "c", 13)),
]


def watched_of(rows, **more) -> Watched:
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    interactions = Interactions.from_frame(frame)
    films = pl.DataFrame(
        {
            "title": [f"film {item}" for item in interactions.item_ids],
            "genres": [[f"genre {item}"] for item in interactions.item_ids],
        }
    )
    return Watched(interactions, np.ones(len(interactions), np.int64), films, **more)


def chained(settings=None) -> Watched:
    """Return users, one after the other, who walk around a ring of items from where they start."""
    starts = np.random.default_rng(0).integers(ITEMS, size=USERS)
    return watched_of(
        [
            (user, f"i{(start + place) % ITEMS:02}", 10 * user + place)
            for user, start in enumerate(starts)
            for place in range(EVENTS)
        ]
    )


def tiny_profile(**changes):
    items = CPU.items.model_copy(update={"leave_one_out": TINY, "hidden": 8})
    updates = {"items": items, "device": "cpu", "seeds": (0, 1)}
    return CPU.model_copy(update=updates | {"data": WatchLogSettings(text="tfidf")} | changes)


def short_profile(**changes):
    """Return settings of a single short training."""
    short = TINY.model_copy(update={"arms": ("id",), "once": (), "epochs": 1})
    items = CPU.items.model_copy(update={"leave_one_out": short})
    return tiny_profile(items=items, seeds=(0,), **changes)


def study_of(rows, folder):
    made = ItemsStudy(tiny_profile(), folder)
    made.log = watched_of(rows)
    return made


@pytest.fixture
def by_hand(tmp_path):
    return study_of(BY_HAND, tmp_path)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(study_module, "load_watched", chained)
    yield ItemsStudy(tiny_profile(), tmp_path_factory.mktemp("run"))
    patch.undo()


@pytest.fixture(scope="module")
def measured(study):
    return measure_last_items(study)


def named(study, rows):
    events = study.log.interactions
    names = events.item_ids.to_list()
    return [names[events.items[end] - 1] for end in rows.end]


def test_the_last_is_tested_and_the_one_before_it_chooses(by_hand):
    split = by_hand.last_split
    assert split.test.user.tolist() == split.valid.user.tolist() == [0, 1, 2]
    assert named(by_hand, split.test) == ["d", "c", "c"]
    assert named(by_hand, split.valid) == ["c", "a", "b"]
    # Trained on: a b | b | d a | a c. The last user has too few events to be tested.
    assert by_hand.last_counts.tolist() == [0, 3, 2, 1, 1]


def test_popularity_is_counted_by_hand(by_hand):
    """Counts are a 3, b 2, c 1, d 1, and everything seen before the last event is left out.

    User 0 has seen a, b and c: d alone is left. User 1 has seen a and b: c shares its count with d,
    and half of a place. User 2 has seen a, b and d: c alone is left.
    """
    assert by_hand.popularity_ranks().tolist() == [1, 1.5, 1]


def test_the_history_is_out_of_the_catalog_and_the_target_never(by_hand):
    """Scores are a > b > c > d for everyone, so only unseen items can stand before a target."""
    descending = torch.tensor([[0.0], [4.0], [3.0], [2.0], [1.0]])
    scorer = product_scorer(lambda batch: torch.ones(len(batch.items), 1), descending)
    assert by_hand.rank_last(scorer).tolist() == [1, 1, 1]
    # Ascending, d stands before c where it was not seen: for user 1.
    assert by_hand.rank_last(
        product_scorer(lambda batch: torch.ones(len(batch.items), 1), -descending)
    ).tolist() == [1, 2, 1]


def test_a_target_seen_before_is_kept(tmp_path):
    rows = [(0, "a", 1), (0, "b", 2), (0, "a", 3), (1, "b", 1), (1, "c", 2), (1, "a", 3)]
    items = study_of(rows, tmp_path)
    # Training has a and b once, c not at all: of user 0, who returns to a, only c is a rival; of
    # user 1 there is none.
    assert items.popularity_ranks().tolist() == [1, 1]


def test_training_that_is_later_than_a_target_by_hand(by_hand):
    """Trained moments are 1 4 | 2 | 8 9 | 12 13, targets are at 7, 5 and 11.

    Later than 7 are four of seven, than 5 four, than 11 two.
    """
    share = later_training_share(by_hand.log.interactions, by_hand.last_split)
    assert share == pytest.approx((4 + 4 + 2) / 7 / 3)


def test_a_split_by_the_clock_leaks_nothing_and_one_in_turn_nearly_everything(by_hand):
    interactions = by_hand.log.interactions
    rows = all_rows(interactions)
    before = np.add.reduceat(interactions.times < 5, interactions.offsets[:-1], dtype=np.int64)
    tested = rows.take(interactions.times[rows.end] >= 7)
    by_clock = Split(rows, rows, tested, interactions.offsets[:-1] + before)
    assert later_training_share(interactions, by_clock) == 0
    # Users who come one after the other, equally long: half of training is of later users.
    rows = [(user, f"i{place}", 10 * user + place) for user in range(50) for place in range(5)]
    in_turn = watched_of(rows).interactions
    share = later_training_share(in_turn, leave_one_out(in_turn))
    assert share == pytest.approx(np.mean([(49 - user) / 50 for user in range(50)]))


def test_rows_learn_a_ring_that_counts_cannot_tell(study, measured):
    """The next item is certain, and counts of about equally popular items are a blind guess."""
    frame = measured.frames["last_items"]
    # Weights are those of the first epoch that has every target of validation among ten, so that
    # the order of the ten is chance. Of 23 items that were not seen, counts have ten.
    among_ten = dict(frame.select("class", "HR@10").iter_rows())
    assert among_ten["ids"] > 0.9
    assert among_ten["ids and frozen content"] > 0.9
    found = dict(frame.select("class", "NDCG@10").iter_rows())
    counted = found["counts of training events"]
    assert counted == pytest.approx(ndcg(study.popularity_ranks(), 10).mean())
    # A blind guess has each of the 23 items that were not seen in each place.
    guess = sum(1 / np.log2(1 + np.arange(1, 11))) / (ITEMS - EVENTS + 1)
    assert counted == pytest.approx(guess, abs=0.15)


def test_what_is_measured_and_framed(study, measured):
    frame = measured.frames["last_items"]
    assert frame["class"].to_list() == [
        "ids", "ids and frozen content", "ids and random vectors", "frozen content",
        "counts of training events",
    ]  # fmt: skip
    assert frame["seeds"].to_list() == [2, 2, 2, 1, None]
    ids, both = (
        [hit(study.last_ranks(ItemJob(arm, seed, last=True)), 10).mean() for seed in (0, 1)]
        for arm in ("id", "both")
    )
    gains = measured.values("loo_content_hr10_gain")
    assert gains == pytest.approx([b - a for a, b in zip(ids, both, strict=True)])
    control = measured.values("loo_noise_hr10_gain")
    beyond = measured.differences["loo_content_hr10_gain"]["loo_noise_hr10_gain"].numbers
    assert beyond == pytest.approx([a - b for a, b in zip(gains, control, strict=True)])
    added = frame.row(1, named=True)
    assert added["low"] <= added["HR@10 over ids"] <= added["high"]
    assert added["HR@10 over ids"] == pytest.approx(sum(gains) / 2)
    (protocol,) = measured.frames["protocol"].to_dicts()
    assert protocol["test targets"] == USERS
    assert protocol["training events"] == USERS * (EVENTS - 2)
    assert protocol["data"] == "ml_100k"
    assert protocol["training later than a target"] == pytest.approx((USERS - 1) / 2 / USERS)


def test_noise_has_the_shape_of_content_and_none_of_its_meaning(study):
    content = study.last_modalities(0)
    noise = noise_like(content, 0)
    assert {name: part.shape for name, part in noise.items()} == {
        name: part.shape for name, part in content.items()
    }
    for name, part in noise.items():
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, rtol=1e-5)
        assert not np.allclose(part, noise_like(content, 1)[name])
    alike = content["text"][1:] @ content["text"][1:].T
    random = noise["text"][1:] @ noise["text"][1:].T
    places = np.triu_indices(ITEMS, 1)
    # Correlations of 435 pairs with what they have nothing to do with: five standard deviations.
    assert abs(np.corrcoef(alike[places], random[places])[0, 1]) < 5 / len(places[0]) ** 0.5


def test_finished_ranks_are_loaded(study, measured):
    again, job = ItemsStudy(study.profile, study.run_dir), ItemJob("id", 0, last=True)
    again.last_model = None
    np.testing.assert_array_equal(again.last_ranks(job), study.last_ranks(job))


def test_an_order_without_moments_tells_no_leak(tmp_path, monkeypatch):
    """In MicroLens's other file a time is a place in a history."""
    monkeypatch.setattr(study_module, "load_watched", lambda data: watched_of(BY_HAND, dated=False))
    measured = measure_last_items(ItemsStudy(short_profile(), tmp_path))
    assert measured.frames["protocol"]["training later than a target"].to_list() == [None]
    assert "loo_content_hr10_gain" not in measured.metrics  # a single arm compares nothing


def test_a_part_of_a_log_is_called_so(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "load_watched", lambda data: watched_of(BY_HAND))
    profile = short_profile(data=WatchLogSettings(users=50, text="tfidf"))
    measured = measure_last_items(ItemsStudy(profile, tmp_path))
    assert measured.frames["protocol"]["data"].to_list() == ["a part of ml_100k"]


def test_seeds_and_arms_make_the_jobs():
    assert [(job.arm, job.seed) for job in last_item_jobs(CPU)] == [
        ("id", 0), ("id", 1), ("id", 2), ("both", 0), ("both", 1), ("both", 2),
        ("noise", 0), ("noise", 1), ("noise", 2), ("content", 0),
    ]  # fmt: skip
