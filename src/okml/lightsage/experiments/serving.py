"""Serving: search indices of the vectors, their recall, and example lists."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.lightsage.arms import WITH_IDS, Job, network_job
from okml.lightsage.ranking import Numbers, top_lists
from okml.lightsage.serving import FlatIndex, build_index, index_recall
from okml.lightsage.settings import LightsageProfile
from okml.lightsage.study import Study
from okml.steps import StepResult

TIMED = 200  # single requests that are timed
SEARCHED = 1_000  # items of the large index that are searched for
NOISE = 0.25  # length of the noise in the large index, of vectors of length 1


def measure_serving(study: Study) -> StepResult:
    """Index the ads of the main data and of the last real log; search for every test item.

    The vectors are those that the digest's rule serves: an isolated item of the tail has its
    group's. Where the profile asks for a larger index, it is of many items around these.
    """
    profile, result = study.profile, StepResult()
    seed = profile.seeds[0]
    rows = []
    for settings in (profile.data, *profile.real[-1:]):
        data = study.data(settings, seed)
        served = study.tail_vectors(network_job(profile, settings, seed)).vectors("isolated")
        vectors, items = served.cpu().numpy(), np.unique(data.test.item)
        measured = _indices(profile, vectors, data.ads, items)
        rows += [{"data": data.label, **row} for row in measured]
        if settings is profile.data:
            for row in measured:
                if row["index"] == "hnsw":
                    result.log("index_recall", float(row["recall"]), seed=seed)
            if profile.index_items is not None:
                many = crowded(vectors, profile.index_items, seed)
                measured = _indices(
                    profile, many, np.ones(len(many), bool), np.arange(min(len(many), SEARCHED))
                )
                rows += [{"data": f"items around those of {data.label}", **row} for row in measured]
    result.frames = {"indices": pl.DataFrame(rows)}
    return result


def crowded(vectors: NDArray[np.float32], items: int, seed: int) -> NDArray[np.float32]:
    """Return unit vectors around given ones, ``[items, d]``, for an index of a large shop.

    Each is a vector of the run, drawn at random, with noise as long as a quarter of it. Vectors
    without any structure would be far from each other, which no shop's are.
    """
    rng = np.random.default_rng(seed)
    drawn = vectors[rng.integers(len(vectors), size=items)]
    noise = rng.standard_normal(drawn.shape, np.float32) / np.sqrt(drawn.shape[1])
    moved = drawn + NOISE * noise
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)


def _indices(
    profile: LightsageProfile,
    vectors: NDArray[np.float32],
    ads: NDArray[np.bool_],
    items: Numbers,
) -> list[dict[str, str | float]]:
    """Build every index of some vectors and search it for some items, a row for each."""
    k = min(profile.index_results, int(ads.sum()) - 1)
    exact, _ = build_index(FlatIndex(), vectors, ads).search(vectors[items], items, k)
    rows: list[dict[str, str | float]] = []
    for kind in profile.indices:
        index = build_index(kind, vectors, ads)
        found, _ = index.search(vectors[items], items, k)
        started = time.perf_counter()
        for item in items[:TIMED]:
            index.search(vectors[[item]], np.array([item]), k)
        each = (time.perf_counter() - started) / len(items[:TIMED])
        rows.append(
            {
                "index": kind.kind,
                "ads": len(index.ids),
                "results": k,
                "recall": index_recall(found, exact),
                "KiB": index.bytes / 1024,
                "seconds to build": index.seconds,
                "ms a request": 1e3 * each,
            }
        )
    return rows


def show_gallery(study: Study) -> StepResult:
    """List related items of well-known films by the network, features and Swing."""
    profile, seed = study.profile, study.profile.seeds[0]
    if profile.gallery is None:
        return StepResult(frames={"gallery": pl.DataFrame()})
    settings = next(data for data in profile.real if data.name == "movielens")
    data = study.data(settings, seed)
    titles = data.shop.items["title"].fill_null("untitled").to_list()
    items = np.array([_find(titles, start) for start in profile.gallery.titles])
    jobs = {
        WITH_IDS: network_job(profile, settings, seed, item_vectors=True),
        "features": Job(settings, seed, "features"),
        "swing": Job(settings, seed, "swing"),
    }
    rows = []
    for name, job in jobs.items():
        found = top_lists(study.scorer(job), items, profile.gallery.shown)
        for item, row in zip(items, found, strict=True):
            for place, other in enumerate(row, 1):
                rows.append(
                    {
                        "by": name,
                        "film": titles[item],
                        "place": place,
                        "related": titles[other],
                        "clicks": int(data.clicks[other]),
                    }
                )
    return StepResult(frames={"gallery": pl.DataFrame(rows)})


def _find(titles: list[str], start: str) -> int:
    found = [number for number, title in enumerate(titles) if title.startswith(start)]
    if not found:
        raise ParameterError(f"No film's title begins with {start!r}.")
    return found[0]
