"""The gpu profile by ``okml run`` itself, from tiny files in the formats of its three logs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from okml.chapters import chapter
from okml.lightsage import figures
from okml.lightsage.arms import IN_VIEW, SCARCE, TREATMENTS, all_jobs, network_job
from okml.lightsage.datasets.coveo import BROWSING, COLUMNS, CONTENT, SEARCH
from okml.lightsage.experiment import Experiment
from okml.lightsage.graph.ablation import GRAPHS
from okml.lightsage.network.encoder import VARIANTS
from tests.deciding import deciding_estimates
from tests.finished import check_report, exported, reopened, run_by_command
from tests.tools.own_data import OwnData

pytestmark = pytest.mark.slow

DAY, MINUTE = 86_400_000, 60_000
START = 1_550_000_000_000 // DAY * DAY
DAYS, LAUNCHED = (
    30,
    22,
)  # products of the last clusters come late, so that they are cold in training
CLUSTERS, SIZE = 14, 10
FILMS = {"Star Wars": 1977, "Toy Story": 1995, "Pulp Fiction": 1994, "Casablanca": 1942}
SIX = (51, 108, 450, 678, 769, 895)  # people of whom the notebook tells
SHOP = {"items": 200, "leaves": 4, "users": 200, "sessions": 1_000, "rings": 3, "ring_items": 10}
# Sizes alone.
SMALLER: dict[str, Any] = {
    "device": "cpu",
    "seeds": [0],
    "data.whole": False,
    "scarce_search.shop": SHOP,
    "in_view.shop": SHOP | {"view_share": 0.5},
    "recipe.batch": 64,
    "recipe.steps": 2,
    "recipe.warmup_steps": 1,
    "recipe.evaluate_every": 1,
    "negatives.count": 32,
    "lightgcn.recipe.batch": 64,
    "lightgcn.recipe.steps": 2,
    "pinsage.neighbors": 5,
    "pinsage.walks": 10,
    "pinsage.hard_first": 5,
    "pinsage.hard_last": 10,
    "walks": 3,
    "item2vec.epochs": 1,
    "index_results": 5,
    "index_items": 300,
    "rate_factors": [1.0],
}  # fmt: skip


def hashed(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def write_coveo(folder: Path) -> None:
    """Write a shop in Coveo's spelling, whose sessions stay within a cluster of products."""
    rng = np.random.default_rng(0)
    browsing: list[tuple[Any, ...]] = []
    search: list[tuple[Any, ...]] = []
    for number in range(DAYS * 30):
        day = number // 30
        visit, at = hashed(f"visit {number}"), START + day * DAY + int(rng.integers(DAY // 2))
        cluster = int(rng.integers(CLUSTERS if day >= LAUNCHED else CLUSTERS - 2))
        # A few products of a cluster have most of the clicks.
        popular = np.arange(SIZE, 0, -1.0) ** 2
        chosen = cluster * SIZE + rng.choice(SIZE, 4, replace=False, p=popular / popular.sum())
        first, second, third, fourth = (hashed(f"product {product}") for product in chosen)
        browsing += [
            (visit, "pageview", None, None, at, hashed("home")),
            (visit, "event_product", "detail", first, at + MINUTE, hashed(first)),
            (visit, "event_product", "detail", second, at + 2 * MINUTE, hashed(second)),
            (visit, "event_product", "add", second, at + 3 * MINUTE, hashed(second)),
        ]
        if number % 2:
            shown = str([third, fourth, first])
            vector = json.dumps(rng.normal(size=50).tolist())
            search.append((visit, vector, str([third]), shown, at + 20 * MINUTE))
            browsing.append(
                (visit, "event_product", "detail", fourth, at + 22 * MINUTE, hashed(fourth))
            )
    content = [
        (hashed(f"product {product}"), json.dumps(rng.normal(size=50).tolist()),
         "/".join(hashed(part) for part in ("root", product // SIZE % 3, product // SIZE)),
         json.dumps(rng.normal(size=50).tolist()) if product % 7 else None,
         float(product % 10 + 1))
        for product in range(CLUSTERS * SIZE)
    ]  # fmt: skip
    folder.mkdir(parents=True)
    rng.shuffle(browsing)  # the true file is in no order
    for file, rows in ((BROWSING, browsing), (SEARCH, search), (CONTENT, content)):
        frame = pl.DataFrame(rows, schema=list(COLUMNS[file]), orient="row")
        frame.write_csv(folder / file)


def movielens_files() -> dict[str, bytes]:
    """Return ratings and films as RecBole packs MovieLens-100K."""
    rng = np.random.default_rng(1)
    ratings = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in (*SIX, *range(900, 954)):
        at = 880_000_000 + int(rng.integers(10**6))
        # Nobody rates the last film, and the six like the first ones.
        for step, film in enumerate(range(18) if user in SIX else rng.permutation(39)[:18]):
            stars = 5 if user in SIX else rng.integers(2, 6)
            ratings.append(f"{user}\t{film + 1}\t{stars}\t{at + 60 * step}")
    films = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    titles = [*FILMS.items(), *((f"Film {film}", 1930 + film) for film in range(len(FILMS), 40))]
    for film, (title, year) in enumerate(titles):
        films.append(f"{film + 1}\t{title}\t{year}\t{('Drama', 'Comedy War')[film % 2]}")
    text = {"ml-100k.inter": ratings, "ml-100k.item": films}
    return {name: ("\n".join(lines) + "\n").encode() for name, lines in text.items()}


def diginetica_files() -> dict[str, bytes]:
    """Return ADER's seventeen weeks: a session and an item a line."""
    rng = np.random.default_rng(2)
    return {
        f"period_{week}.txt": "".join(
            f"{100 * week + session} {500 + item}\n"
            for session in range(12)
            for item in (8 * int(rng.integers(12)) + rng.choice(8, 4, replace=False))
        ).encode()
        for week in range(17)
    }


def put_logs(data: OwnData) -> None:
    """Put the three logs of the chapter into a cache."""
    data.files("ml_100k", movielens_files())
    data.files("ader_diginetica", diginetica_files())
    write_coveo(data.cache / "coveo")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if "OKML_OTHER_SEEDS" in os.environ:
        pytest.skip("The visit that the notebook shows is one of its own seed's.")
    profile = chapter("lightsage").profile("gpu", SMALLER)
    with run_by_command(profile, put_logs, tmp_path_factory) as run_dir:
        yield reopened(Experiment, profile, run_dir)


def test_every_step_runs_and_every_claim_has_its_interval(experiment: Any) -> None:
    assert set(experiment.steps.results) == set(Experiment.step_names())
    for claim, estimate in deciding_estimates(experiment.made):
        assert estimate.interval is not None, claim.id
        assert all(claim.bar(name) for name in ("smoke", "cpu", "gpu")), claim.id
    for result in experiment.steps.results.values():
        assert np.isfinite([item.mean for item in result.metrics.values()]).all()


def test_the_record_holds_the_files_and_the_shops_that_they_make(experiment: Any) -> None:
    rows = {row["data"]: row for row in experiment.data.frames["data"].to_dicts()}
    assert list(rows) == ["coveo", "ml_100k", "ader_diginetica"]
    assert rows["coveo"]["items"] == CLUSTERS * SIZE
    assert rows["coveo"]["sessions"] == 30 * (DAYS - 14)  # the last two weeks validate and test
    assert rows["coveo"]["cold"] >= 2 * SIZE / (CLUSTERS * SIZE)
    assert rows["ml_100k"]["items"] == 40
    files = {f"coveo/{name}" for name in COLUMNS}
    files |= {f"ml_100k/{name}" for name in movielens_files()}
    files |= {f"ader_diginetica/{name}" for name in diginetica_files()}
    assert set(experiment.made.provenance.data) == files


def test_every_arm_of_every_table_is_trained_and_ranked(experiment: Any) -> None:
    profile = experiment.profile
    assert experiment.training.values("trainings") == [len(all_jobs(profile))]
    tables = {
        "graphs": {*GRAPHS, "features alone"},
        "networks": set(VARIANTS),
        "losses": {"V0", "edge not left out", *profile.losses},
        "baselines": {"LightSAGE", "LightSAGE and item vectors", *profile.data.baselines},
        "tail": {*(row.name for row in TREATMENTS), "no graph, own vectors"},
        "scarce_search": set(SCARCE),
        "in_view": set(IN_VIEW),
    }
    for step, arms in tables.items():
        frame = getattr(experiment, step).frames["summary"]
        assert set(frame["arm"]) == arms, step
        assert frame["seeds"].unique().to_list() == [1], step
        assert frame["hr@10"].is_between(0, 1).all()
    real = experiment.real.frames["summary"]
    for settings, name in zip(profile.real, ("ml_100k", "ader_diginetica"), strict=True):
        arms = {"LightSAGE", "LightSAGE and item vectors", *settings.baselines}
        arms |= {f"LightSAGE: {graph}" for graph in settings.graphs}
        assert set(real.filter(data=name)["arm"]) == arms
    assert set(experiment.serving.frames["indices"]["index"]) == {"flat", "hnsw", "ivf_pq"}
    gallery = experiment.gallery.frames["gallery"]
    assert (gallery["film"] != gallery["related"]).all()
    shown = gallery["film"].unique().to_list()
    assert sorted(title.split(" (")[0] for title in shown) == sorted(FILMS)


def test_a_training_keeps_its_best_validation_and_runs_to_the_end_of_its_rate(
    experiment: Any,
) -> None:
    profile = experiment.profile
    assert profile.recipe.patience is None
    for job in all_jobs(profile):
        if job.seed == 0 and job.data.name == "coveo" and hasattr(job.arm, "encoder"):
            history = experiment.study.encoder(job).history
            assert history.steps == profile.recipe.steps
            assert history.best_step in (1, 2)


def test_exported_encoders_give_the_vectors_that_were_ranked(
    experiment: Any, tmp_path: Path
) -> None:
    profile, study = experiment.profile, experiment.study
    encoders = exported(profile, experiment.folder, tmp_path)
    assert encoders.keys() == {f"lightsage_{data.name}" for data in (profile.data, *profile.real)}
    for data in (profile.data, *profile.real):
        job = network_job(profile, data, 0)
        task = study.data(data, 0)
        graph = study.adjacency(task, data.main_graph, 0)
        found = encoders[f"lightsage_{data.name}"].embed(study.features(task), graph)
        torch.testing.assert_close(found, study.train(job).vectors, atol=1e-5, rtol=1e-4)


def test_the_figures_of_the_page_are_drawn(experiment: Any) -> None:
    drawn = [
        figures.scheme(),
        figures.picture(experiment.graph.frames["picture"]),
        figures.statistics(experiment.graph.frames["report"]),
        figures.long_tail(
            experiment.graph.frames["popularity"],
            experiment.graph.frames["degrees"],
            experiment.profile.data.tail_clicks,
        ),
        figures.arms(experiment.graphs.frames["summary"], "full", "each graph"),
        figures.tail_buckets(experiment.tail.frames["buckets"]),
        figures.learning_curves(experiment.losses.frames["curves"]),
        figures.related(experiment.gallery.frames["gallery"]),
    ]
    assert all("<svg" in picture.svg and len(picture.alt) > 40 for picture in drawn)


def test_the_report_tells_what_the_run_decides(experiment: Any, tmp_path: Path) -> None:
    check_report(experiment.made, tmp_path)
