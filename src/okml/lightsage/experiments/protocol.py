"""Statistics of the data sets and of the graphs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components

from okml.lightsage.arms import Arm, all_jobs
from okml.lightsage.comparison import gini, slices
from okml.lightsage.graph import Part
from okml.lightsage.ranking import Numbers
from okml.lightsage.study import Study
from okml.lightsage.task import RetrievalTask
from okml.steps import StepResult, announced
from okml.training.ahead import train_ahead

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
        edges = study.graph(data, settings.main_graph, seed).adjacency
        ends = torch.from_numpy(pairs.item), torch.from_numpy(pairs.target)
        rows.append(
            {
                "data": data.label,
                "items": data.items,
                "users": log["user"].n_unique(),
                "sessions": log["session"].n_unique(),
                "events": log.height,
                "test pairs": len(pairs),
                "clones": float(slices(data)["clones"].mean()),
                "known edges": float((edges.entries(*ends) > 0).numpy().mean()),
                "tail": float(data.tail.mean()),
                "cold": float(data.cold.mean()),
                "isolated": float(edges.isolated.numpy().mean()),
                "strong and weak alike": alike(study, data),
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
    edges: dict[str, pl.DataFrame] = {part: study.edges(data).of(part) for part in REPORTED}
    graph = study.graph(data, data.settings.main_graph, seed)
    report = part_report(edges | {"merged": graph.edges}, data.items, data.category)
    degrees = np.bincount(graph.adjacency.degrees)
    return StepResult(
        frames={
            "report": report,
            "overlap": overlap({part: edges[part] for part in ("strong", "search", "swing")}),
            "degrees": pl.DataFrame({"degree": np.arange(len(degrees)), "items": degrees}),
            "popularity": _popularity(data),
            "picture": _picture(study, data, seed),
        }
    )


def alike(study: Study, data: RetrievalTask) -> float:
    """Return the common share of strong and of weak edges, of all pairs that either has.

    Where it is near 1, as in a log of one kind of clicks, nothing tells strong from weak.
    """
    strong, weak = (study.edges(data).of(part) for part in ("strong", "weak"))
    common = strong.join(weak, on=["item", "neighbor"], how="semi").height
    return common / max(1, strong.height + weak.height - common)


def train_everything(study: Study) -> StepResult:
    """Run all trainings, in parallel, and count those of each kind on each data set."""
    jobs = all_jobs(study.profile)
    with announced("trainings"):
        train_ahead(study, jobs)
    rows = [
        {
            "data": job.data.name,
            "network": _kind(job.arm),
            "graph": job.arm.graph if isinstance(job.arm, Arm) else job.data.main_graph,
        }
        for job in jobs
    ]
    by = ("data", "network", "graph")
    counted = pl.DataFrame(rows).group_by(by).len("trainings").sort("data", "network", "graph")
    result = StepResult(frames={"trainings": counted})
    result.log("trainings", len(jobs))
    return result


def _kind(arm: Arm | str) -> str:
    if not isinstance(arm, Arm):
        return arm
    hops = f"{arm.encoder.layers} hop{'s' * (arm.encoder.layers != 1)}"
    return f"{hops}, item vectors" if arm.encoder.item_vectors else hops


def part_report(edges: Mapping[str, pl.DataFrame], items: int, category: Numbers) -> pl.DataFrame:
    """Describe each kind of edge, in a row for each.

    Columns: ``part``, ``edges``, ``coverage`` (share of items with an edge in either direction),
    ``same_category`` (weighted share of edges within a category), ``out_median``, ``out_p90``,
    ``in_p90`` (degrees of items with an edge), ``in_gini`` (of the in-degrees of all items),
    ``largest_component`` (share of items).

    Args:
        edges: Edge frames by name.
        items: Number of items N.
        category: Category of each item, ``[N]``, -1 where unknown.
    """
    rows = []
    for name, frame in edges.items():
        i, j = frame["item"].to_numpy(), frame["neighbor"].to_numpy()
        outs, ins = np.bincount(i, minlength=items), np.bincount(j, minlength=items)
        reached = (outs + ins) > 0
        adjacency = sp.coo_array((np.ones(len(i)), (i, j)), shape=(items, items))
        _, component = connected_components(adjacency, directed=False)
        degrees = [(outs, 0.5), (outs, 0.9), (ins, 0.9)]
        quantiles = [np.quantile(of[reached], q) if len(i) else 0.0 for of, q in degrees]
        rows.append(
            {
                "part": name,
                "edges": len(i),
                "coverage": float(reached.mean()),
                "same_category": share_within(frame, category),
                **dict(zip(("out_median", "out_p90", "in_p90"), quantiles, strict=True)),
                "in_gini": gini(ins),
                "largest_component": float(np.bincount(component).max() / items) if len(i) else 0.0,
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def share_within(edges: pl.DataFrame, category: Numbers) -> float | None:
    """Return the weighted share of edges within a category among those with known categories.

    Args:
        edges: Edges with the columns ``item``, ``neighbor`` and ``weight``.
        category: Number of each item's category, ``[N]``; -1 if it is not known.

    Returns:
        The share, 0 to 1; None without an edge whose categories are known.
    """
    own, other = (category[edges[name].to_numpy()] for name in ("item", "neighbor"))
    weight = edges["weight"].to_numpy()
    known = (own >= 0) & (other >= 0)
    whole = weight[known].sum()
    return float(weight[known & (own == other)].sum() / whole) if whole > 0 else None


def overlap(edges: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the share of a kind's pairs (row) that another kind (column) also has."""
    pairs = {
        name: frame.select(low=pl.min_horizontal(ends := ("item", "neighbor")),
                           high=pl.max_horizontal(ends)).unique()
        for name, frame in edges.items()
    }  # fmt: skip
    rows: list[dict[str, str | float | None]] = []
    for name, mine in pairs.items():
        row: dict[str, str | float | None] = {"part": name}
        for other, theirs in pairs.items():
            common = mine.join(theirs, on=["low", "high"], how="semi").height
            row[other] = common / mine.height if mine.height else None
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def _popularity(data: RetrievalTask) -> pl.DataFrame:
    """Return clicks by rank of popularity, thinned for a logarithmic axis."""
    clicks = np.sort(data.clicks)[::-1]
    ranks = np.unique(np.geomspace(1, len(clicks), 200).astype(int))
    return pl.DataFrame({"rank": ranks, "clicks": clicks[ranks - 1]})


def _picture(study: Study, data: RetrievalTask, seed: int) -> pl.DataFrame:
    """Return both graphs' edges among the most clicked items of the largest categories."""
    known = data.category >= 0
    sizes = np.bincount(data.category[known])
    chosen = np.argsort(-sizes, kind="stable")[:PICTURED_CATEGORIES]
    items = np.flatnonzero(np.isin(data.category, chosen))
    items = items[np.argsort(-data.clicks[items], kind="stable")][:PICTURED_ITEMS]
    frames = []
    for name in ("weak", data.settings.main_graph):
        frame = study.graph(data, name, seed).edges
        inside = pl.col("item").is_in(items), pl.col("neighbor").is_in(items)
        frames.append(frame.filter(*inside).with_columns(graph=pl.lit(name)))
    edges = pl.concat(frames)
    category = pl.Series(data.category)
    return edges.with_columns(
        item_category=category.gather(edges["item"]),
        neighbor_category=category.gather(edges["neighbor"]),
    )
