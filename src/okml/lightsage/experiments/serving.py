"""Serving: search indices of the vectors, their recall, and example lists."""

from __future__ import annotations

import time

import numpy as np
import polars as pl

from okml.errors import ParameterError
from okml.lightsage.arms import WITH_IDS, Job, network_job
from okml.lightsage.ranking import top_lists
from okml.lightsage.serving import FlatIndex, build_index, index_recall
from okml.lightsage.study import Study
from okml.steps import StepResult

TIMED = 200  # single requests that are timed


def measure_serving(study: Study) -> StepResult:
    """Index the ads of the main data and of the last real log; search for every test item."""
    profile, result = study.profile, StepResult()
    seed = profile.seeds[0]
    rows = []
    for settings in (profile.data, *profile.real[-1:]):
        data = study.data(settings, seed)
        trained = study.train(network_job(profile, settings, seed))
        vectors = trained.vectors.cpu().numpy()
        items = np.unique(data.test.item)
        k = min(profile.index_results, int(data.ads.sum()) - 1)
        flat = build_index(FlatIndex(), vectors, data.ads)
        exact, _ = flat.search(vectors[items], items, k)
        for kind in profile.indices:
            index = build_index(kind, vectors, data.ads)
            found, _ = index.search(vectors[items], items, k)
            started = time.perf_counter()
            for item in items[:TIMED]:
                index.search(vectors[[item]], np.array([item]), k)
            each = (time.perf_counter() - started) / len(items[:TIMED])
            recall = index_recall(found, exact)
            rows.append(
                {
                    "data": data.label,
                    "index": kind.kind,
                    "ads": len(index.ids),
                    "results": k,
                    "recall": recall,
                    "KiB": index.bytes / 1024,
                    "seconds to build": index.seconds,
                    "ms a request": 1e3 * each,
                }
            )
            if settings is profile.data and kind.kind == "hnsw":
                result.log("index_recall", recall, seed=seed)
    result.frames = {"indices": pl.DataFrame(rows)}
    return result


def show_gallery(study: Study) -> StepResult:
    """List related items of well-known films by the network, features and Swing."""
    profile, seed = study.profile, study.profile.seeds[0]
    if profile.gallery is None:
        return StepResult(frames={"gallery": pl.DataFrame()})
    settings = next(data for data in profile.real if data.name == "movielens")
    data = study.data(settings, seed)
    titles = data.shop.items["title"].fill_null("untitled").to_list()
    items = np.array([_find(titles, start) for start in profile.gallery.titles])
    every = np.ones(data.items, bool)
    jobs = {
        WITH_IDS: network_job(profile, settings, seed, item_vectors=True),
        "features": Job(settings, seed, "features"),
        "swing": Job(settings, seed, "swing"),
    }
    rows = []
    for name, job in jobs.items():
        found, _ = top_lists(study.scorer(job), items, every, profile.gallery.shown)
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
