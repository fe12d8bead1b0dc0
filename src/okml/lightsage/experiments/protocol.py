"""Statistics of the data sets and of the graphs."""

from __future__ import annotations

import numpy as np
import polars as pl

from okml.lightsage.graph import Part, edges_of, overlap, part_report
from okml.lightsage.prepared import Prepared
from okml.lightsage.study import Study
from okml.steps import StepResult

REPORTED: tuple[Part, ...] = ("weak", "strong", "search", "swing", "cosine")
PICTURED_CATEGORIES = 3
PICTURED_ITEMS = 60


def describe_data(study: Study) -> StepResult:
    """Count each data set under its protocol, for the first seed."""
    result = StepResult()
    seed = study.profile.seeds[0]
    rows = []
    for settings in (study.profile.data, *study.profile.real):
        data = study.data(settings, seed)
        log, pairs = data.shop.train, data.test
        graph = study.graph(data, settings.main_graph, seed)
        product = data.shop.items["product"].to_numpy()
        rows.append(
            {
                "data": data.label,
                "items": data.items,
                "users": log.frame["user"].n_unique(),
                "sessions": log.frame["session"].n_unique(),
                "events": log.frame.height,
                "test pairs": len(pairs),
                "clones": float((product[pairs.item] == product[pairs.target]).mean()),
                "known edges": float((graph.matrix()[pairs.item, pairs.target] > 0).mean()),
                "tail": float(data.tail.mean()),
                "cold": float(data.cold.mean()),
                "isolated": float(graph.isolated.mean()),
                "features": data.shop.features.shape[1],
                "protocol": data.shop.protocol,
            }
        )
        result.data.update(data.shop.used)
        for note in (data.shop.notice, f"{data.label}: features are {data.shop.feature_notes}"):
            if note:
                result.notes.append(note)
    result.frames = {"data": pl.DataFrame(rows)}
    return result


def describe_graph(study: Study) -> StepResult:
    """Describe each kind of edge and the merged graph of the main data, for the first seed."""
    profile, seed = study.profile, study.profile.seeds[0]
    data = study.data(profile.data, seed)
    category = data.shop.items["category"]
    edges: dict[str, pl.DataFrame] = {
        part: edges_of(part, data.shop.train, data.settings.graph) for part in REPORTED
    }
    graph = study.graph(data, data.settings.main_graph, seed)
    report = pl.concat(
        [
            part_report(edges, data.items, category),
            part_report({"merged": graph.frame()}, data.items, category),
        ],
        how="vertical_relaxed",
    )
    degrees = np.bincount(graph.degrees)
    return StepResult(
        frames={
            "report": report,
            "overlap": overlap({part: edges[part] for part in ("strong", "search", "swing")}),
            "degrees": pl.DataFrame({"degree": np.arange(len(degrees)), "items": degrees}),
            "popularity": _popularity(data),
            "picture": _picture(study, data, seed),
        }
    )


def _popularity(data: Prepared) -> pl.DataFrame:
    """Return clicks by rank of popularity, thinned for a logarithmic axis."""
    clicks = np.sort(data.clicks)[::-1]
    ranks = np.unique(np.geomspace(1, len(clicks), 200).astype(int))
    return pl.DataFrame({"rank": ranks, "clicks": clicks[ranks - 1]})


def _picture(study: Study, data: Prepared, seed: int) -> pl.DataFrame:
    """Return both graphs' edges among the most clicked items of the largest categories."""
    known = data.category >= 0
    sizes = np.bincount(data.category[known])
    chosen = np.argsort(-sizes, kind="stable")[:PICTURED_CATEGORIES]
    items = np.flatnonzero(np.isin(data.category, chosen))
    items = items[np.argsort(-data.clicks[items], kind="stable")][:PICTURED_ITEMS]
    frames = []
    for name in ("weak", data.settings.main_graph):
        frame = study.graph(data, name, seed).frame()
        inside = pl.col("item").is_in(items), pl.col("neighbor").is_in(items)
        frames.append(frame.filter(*inside).with_columns(graph=pl.lit(name)))
    edges = pl.concat(frames)
    category = pl.Series(data.category)
    return edges.with_columns(
        item_category=category.gather(edges["item"]),
        neighbor_category=category.gather(edges["neighbor"]),
    )
