"""The experiment on new items from end to end at the smallest sizes, and its figures."""

import numpy as np
import polars as pl
import pytest
import torch

from okml.seqrec.interactions import Interactions
from okml.video_workshop.common import study as study_module
from okml.video_workshop.common.data import Watched
from okml.video_workshop.config import CPU
from okml.video_workshop.items import figures
from okml.video_workshop.items.arms import ItemJob
from okml.video_workshop.items.experiments import new_items as cold
from okml.video_workshop.items.study import ItemsStudy
from okml.video_workshop.settings.data import WatchLogSettings
from okml.video_workshop.settings.items import ItemsSettings, RQVAESettings
from okml.video_workshop.settings.users import UserModelSettings

GROUPS, EACH, USERS, EVENTS = 4, 10, 80, 10
TINY = ItemsSettings(
    once=("hash", "content", "sid_rqvae"),
    levels=2,
    codes=6,
    prefix_codes=4,
    rqvae=RQVAESettings(hidden=(8,), latent=4, batch=32, steps=20),
    hidden=8,
    least_events=3,
    model=UserModelSettings(length=10, width=8, layers=1, heads=1, dropout=0.0),
    epochs=12,
    batch=16,
    learning_rate=2e-2,
)


def watched(settings=None) -> Watched:
    """Return users who watch one genre each; a film's words tell its genre."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        items = rng.permutation(EACH)[:EVENTS] + EACH * (user % GROUPS)
        rows += [(user, int(item), 100 * user + place) for place, item in enumerate(items)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    interactions = Interactions.from_frame(frame)
    words = ("comet orbit rocket", "waltz opera violin", "sheriff saddle canyon", "ghost crypt bat")
    films = pl.DataFrame(
        {
            "title": [words[int(i) // EACH] for i in interactions.item_ids],
            "genres": [[f"genre {int(i) // EACH}"] for i in interactions.item_ids],
        }
    )
    return Watched(interactions, np.ones(len(interactions), np.int64), films)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(study_module, "load_watched", watched)
    # In this process: two workers would spend their time on imports.
    patch.setattr("okml.training.ahead.usable_cores", lambda: 1)
    profile = CPU.model_copy(
        update={
            "items": TINY, "seeds": (0,), "device": "cpu",
            "data": WatchLogSettings(text="tfidf"),
        }
    )  # fmt: skip
    yield ItemsStudy(profile, tmp_path_factory.mktemp("run"))
    patch.undo()


@pytest.fixture(scope="module")
def measured(study):
    return cold.measure_cold_items(study)


def test_meaning_finds_new_items_and_chance_does_not(measured):
    # One of four genres is asked for, and its code is shared by known films of the genre.
    semantic, random = (
        measured.values(f"{name}_among_cold_hr10")[0] for name in ("semantic_id", "random_code")
    )
    assert measured.values("cold_items")[0] == 6
    assert random <= semantic == 1  # six new items: all are among the first ten
    arms = {row["arm"]: row for row in measured.frames["arms"].to_dicts()}
    assert set(arms) == {*TINY.arms, *TINY.once}
    assert arms["random_codes"]["rows"] == arms["sid_unigram"]["rows"] == arms["hash"]["rows"]


@pytest.mark.parametrize(
    ("arm", "alike"),
    [
        ("content", True), ("sid_unigram", True), ("sid_rqvae", True),
        ("id", False), ("random_codes", False), ("hash", False),
    ],
)  # fmt: skip
def test_meaning_gives_a_new_item_the_vector_of_known_ones_and_chance_does_not(
    study, measured, arm, alike
):
    """Films of a genre have the same words here, so what reads them cannot tell them apart."""
    with torch.no_grad():
        vectors = study.model(ItemJob(arm, 0)).table()
    titles = np.array(["", *study.log.films["title"]])
    for new in np.flatnonzero(study.split.cold):
        others = np.flatnonzero(study.split.known & (titles == titles[new]))
        near = torch.isclose(vectors[others], vectors[new], atol=1e-5).all(1)
        assert near.all() if alike else not near.all(), titles[new]


def test_what_is_logged_and_framed(measured):
    shares = {
        name: min(
            of[f"{name}_warm_ndcg10"] / of["id_warm_ndcg10"],
            of[f"{name}_cold_hr10"] / of["semantic_id_cold_hr10"],
        )
        for of in [{name: estimate.mean for name, estimate in measured.metrics.items()}]
        for name in ("hybrid", "naive_hybrid")
    }
    for name, share in shares.items():
        found = measured.metrics[f"{name}_kept_share"]
        assert found.mean == pytest.approx(share)
        assert found.low <= share <= found.high
    beyond = measured.differences["hybrid_kept_share"]["naive_hybrid_kept_share"]
    assert beyond.mean == pytest.approx(shares["hybrid"] - shares["naive_hybrid"])
    beyond = measured.differences["semantic_id_cold_hr10"]["random_code_cold_hr10"]
    assert beyond.low <= beyond.mean <= beyond.high


def test_a_finished_ranking_is_loaded(study, measured):
    again = ItemsStudy(study.profile, study.run_dir)
    again.model = None
    np.testing.assert_array_equal(
        study.ranks(ItemJob("id", 0)).full, again.ranks(ItemJob("id", 0)).full
    )


def test_quantizers_are_described_by_level(study):
    result = cold.measure_quantizers(study)
    frame = result.frames["quantizers"]
    assert frame["quantizer"].unique(maintain_order=True).to_list() == ["rq_kmeans", "rq_vae"]
    genres = frame.filter(quantizer="rq_kmeans")["jaccard"].to_list()
    assert genres[0] < 0.5 < genres[2]
    picture = figures.code_quality(frame)
    assert "rq_kmeans 2x6, 2 codes" in picture.alt


def test_figures(measured):
    picture = figures.warm_and_cold(measured.frames["arms"], 1.0)
    assert "random codes" in picture.alt
