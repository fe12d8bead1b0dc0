"""Swing and the item graph: okml beside joins in pandas and products in scipy, in one run.

Every contestant scores the same pairs of user and item with the same caps, in a process of its own,
on one thread, with everything imported and warmed up. They take turns and the median round of each
counts. Memory is what the task adds: the peak during it over what the process held before.

Then okml alone builds the whole graph of logs of 1, 10 and 100 times the events, with the catalog
as it is, and merges the edges of catalogs of 100 thousand and of a million items, from which ten
million are extrapolated; growing slower than the log or the catalog is a ratio above 1.

    python benchmarks/graph.py --out graph.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse as sp

from okml.benchmark import (
    BenchmarkRecord,
    Check,
    Figures,
    PeerComparison,
    Quantity,
    alone,
    compare,
    extrapolated,
    medians,
    parser_of,
    taken_with_memory,
    two_digits,
    write_benchmark,
)
from okml.lightsage.graph import Part, SwingSettings, build_graph, clean, graph_of, swing
from okml.lightsage.graph.edges import rounded, strongest
from okml.lightsage.graph.swing import incidence, place, user_items
from okml.lightsage.shop import ShopSettings, generate
from okml.runtime import progress

SEED = 0
# All clicks, the feed's included: where Swing is expensive.
SWING = SwingSettings(sources=("pdp_rec", "search", "other", "feed"))
TOLERANCE = 1e-6  # of scores, as a share of the largest
PEERS = {
    "pandas": f"pandas {metadata.version('pandas')}, joins",
    "scipy": f"scipy {metadata.version('scipy')}, sparse products an item",
}
QUANTITIES = (
    Quantity("cpu_seconds", "processor time of Swing", "s"),
    Quantity("seconds", "wall time of Swing", "s"),
    Quantity("pairs_per_second", "pairs of users a processor second", "pairs/s", better="higher"),
    Quantity("memory_gib", "memory that Swing adds", "GiB"),
)
GROWTH = (1, 10, 100)
CATALOGS = (100_000, 1_000_000)  # items
KINDS: dict[Part, int] = {"strong": 4, "search": 2, "swing": 4}  # edges of an item


def with_okml(folder: Path) -> pl.DataFrame:
    """Score with the compiled kernel."""
    return swing(pl.read_parquet(folder / "pairs.parquet"), SWING, threads=1).drop("pairs")


def with_pandas(folder: Path) -> pl.DataFrame:
    """Join users on items, once for the capped pairs and once for what two users share."""
    pairs = pd.read_parquet(folder / "pairs.parquet")
    n = pairs.groupby("user")["item"].transform("size")
    pairs = pairs[n.between(SWING.least_user_items, SWING.most_user_items)]
    weight = (SWING.user_offset + pairs.groupby("user").size()) ** -SWING.user_power
    ranked = pairs.assign(place=place(pairs["user"], pairs["item"].astype("int64")))
    ranked = ranked.sort_values(["item", "place", "user"])
    capped = ranked.groupby("item").head(SWING.most_item_users)[["item", "user"]]

    met = capped.merge(capped, on="item", suffixes=("_u", "_v"))
    met = met[met["user_u"] < met["user_v"]]
    shared = pairs.merge(pairs, on="item", suffixes=("_u", "_v"))
    shared = shared[shared["user_u"] < shared["user_v"]].rename(columns={"item": "neighbor"})
    users = ["user_u", "user_v"]
    overlap = shared.groupby(users).size().rename("overlap").reset_index()
    scored = met.merge(overlap[overlap["overlap"] >= 2], on=users).merge(shared, on=users)
    scored = scored[scored["item"] != scored["neighbor"]]
    product = weight.loc[scored["user_u"]].to_numpy() * weight.loc[scored["user_v"]].to_numpy()
    scored["weight"] = product / (SWING.alpha + scored["overlap"])
    found = scored.groupby(["item", "neighbor"])["weight"].agg(["sum", "size"]).reset_index()
    found = found[found["size"] >= SWING.least_pairs].rename(columns={"sum": "weight"})
    return finished(pl.DataFrame({name: found[name].to_numpy() for name in
                                  ("item", "neighbor", "weight")}))  # fmt: skip


def with_scipy(folder: Path) -> pl.DataFrame:
    """For each item, S = w wᵀ / (α + B Bᵀ) of its users, and half the column sums of (S B) ∘ B."""
    pairs = pl.read_parquet(folder / "pairs.parquet")
    of = incidence(pairs, SWING)
    lengths = np.diff(of.user_starts)
    users = np.repeat(np.arange(len(lengths)), lengths)
    has = sp.csr_array(
        (np.ones(len(users)), (users, of.user_items)), shape=(len(lengths), len(of.items))
    )
    items, neighbors, weights = [], [], []
    for i in range(len(of.items)):
        near = of.item_users[of.item_starts[i] : of.item_starts[i + 1]]
        mine = has[near]
        common = mine.sum(axis=0)
        enough = common * (common - 1) // 2 >= SWING.least_pairs
        enough[i] = False
        kept = np.flatnonzero(enough)
        if not len(kept):
            continue
        scores = np.outer(of.weights[near], of.weights[near])
        scores /= SWING.alpha + (mine @ mine.T).toarray()
        np.fill_diagonal(scores, 0)
        held = mine[:, kept].toarray()
        items.append(np.full(len(kept), of.items[i]))
        neighbors.append(of.items[kept])
        weights.append(0.5 * ((scores @ held) * held).sum(axis=0))
    columns = {"item": items, "neighbor": neighbors, "weight": weights}
    return finished(pl.DataFrame({name: np.concatenate(of) for name, of in columns.items()}))


def finished(scores: pl.DataFrame) -> pl.DataFrame:
    """Apply the floor and the cap on neighbors, which are the same work for everyone."""
    scores = scores.with_columns(weight=rounded(pl.col("weight")))
    return strongest(scores.filter(pl.col("weight") >= SWING.least_score), SWING.most_neighbors)


CONTESTANTS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "okml": with_okml,
    "pandas": with_pandas,
    "scipy": with_scipy,
}


def whole_graph(folder: Path) -> pl.DataFrame:
    """Clean a log and build its graph of strong, search and Swing edges."""
    log = clean(pl.read_parquet(folder / "log.parquet"))
    return build_graph(log, ShopSettings().items).edges


def merged(folder: Path) -> pl.DataFrame:
    """Merge kinds of edges that are already counted."""
    edges = {part: pl.read_parquet(folder / f"{part}.parquet") for part in KINDS}
    items = json.loads((folder / "items.json").read_text())
    return graph_of(edges, items).edges


def write_edges(folder: Path, items: int) -> Path:
    """Write random edges of each kind, as many of every item."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    (folder / "items.json").write_text(json.dumps(items))
    for part, count in KINDS.items():
        item = np.repeat(np.arange(items, dtype=np.int32), count)
        neighbor = (item + rng.integers(1, items, len(item))) % items
        columns = {"item": item, "neighbor": neighbor.astype(np.int32)}
        pairs = pl.DataFrame(columns).unique().sort("item", "neighbor")
        weighed = pairs.with_columns(weight=pl.Series(rng.random(pairs.height)))
        weighed.write_parquet(folder / f"{part}.parquet")
    return folder


def measured(
    task: Callable[[Path], pl.DataFrame], small: Path, folder: Path
) -> tuple[pl.DataFrame, Figures]:
    """Run a task, warmed up, and return what it found and took."""
    task(small)
    return taken_with_memory(partial(task, folder))


def write_log(folder: Path, settings: ShopSettings) -> Path:
    """Write a shop's log and its pairs of user and item."""
    folder.mkdir()
    events = generate(settings, SEED).events
    events.write_parquet(folder / "log.parquet")
    user_items(clean(events), SWING).write_parquet(folder / "pairs.parquet")
    return folder


def contest(arguments: argparse.Namespace, folder: Path, small: Path) -> tuple[
    list[PeerComparison], list[Check], str
]:  # fmt: skip
    """Let all contestants take turns with Swing."""
    log = write_log(folder / "log", ShopSettings(sessions=arguments.sessions))
    pairs = pl.read_parquet(log / "pairs.parquet")
    scored = incidence(pairs, SWING).pairs
    rounds: dict[str, list[Figures]] = {name: [] for name in CONTESTANTS}
    found: dict[str, pl.DataFrame] = {}
    for _ in progress(range(arguments.repeats), "rounds"):
        for name, task in CONTESTANTS.items():
            found[name], figures = alone(measured, task, small, log)
            rounds[name].append(figures | {"pairs_per_second": scored / figures["cpu_seconds"]})
    ours, *theirs = (medians(taken) for taken in rounds.values())
    peers = dict(zip(PEERS.values(), theirs, strict=True))
    checks = [
        Check(
            what=f"scores beside {peer}",
            difference=difference(found["okml"], found[name]),
            tolerance=TOLERANCE,
        )
        for name, peer in PEERS.items()
    ]
    what = (
        f"Swing over {pairs.height:,} pairs of user and item of a synthetic shop, all clicks; "
        f"{scored:,} pairs of users under a cap of {SWING.most_item_users} users an item, "
        f"{found['okml'].height:,} scores. One thread"
    )
    return list(compare(ours, peers, QUANTITIES, arguments.repeats)), checks, what


def difference(ours: pl.DataFrame, theirs: pl.DataFrame) -> float:
    """Return the largest difference of scores as a share of the largest; infinite if pairs differ.

    At the cap on neighbors, two scores that tie but for rounding may change places: pairs that one
    side alone has count by how far they lie above the other's last neighbor.
    """
    both = ours.join(theirs, on=["item", "neighbor"], how="full", suffix="_theirs", coalesce=True)
    last = ours.group_by("item").agg(last=pl.col("weight").min())
    apart = both.join(last, on="item", how="left").select(
        (pl.col("weight").fill_null(pl.col("last")) - pl.col("weight_theirs").fill_null(
            pl.col("last"))).abs().max()
    ).item()  # fmt: skip
    return float("inf") if apart is None else apart / ours["weight"].max()


def growth(arguments: argparse.Namespace, folder: Path, small: Path) -> list[PeerComparison]:
    """Build the graph of ever longer logs."""
    events, figures = [], []
    for times in progress(GROWTH, "growth"):
        settings = ShopSettings(
            sessions=arguments.growth_sessions * times,
            users=arguments.growth_sessions * times // 5,
            rings=0,  # they do not grow with the visits
        )
        log = write_log(folder / f"times{times}", settings)
        events.append(pl.scan_parquet(log / "log.parquet").select(pl.len()).collect().item())
        rounds = [alone(measured, whole_graph, small, log)[1] for _ in range(arguments.repeats)]
        figures.append(medians(rounds))
    return [
        PeerComparison(
            what=f"{what}, {events[place] / events[0]:.0f} times the events "
            f"({two_digits(figures[0][key])} to {two_digits(figures[place][key])} {unit})",
            unit="times",
            peer=f"growth in proportion to the log, {events[0]:,} to {events[place]:,} events",
            okml_value=figures[place][key] / figures[0][key],
            peer_value=events[place] / events[0],
            repeats=arguments.repeats,
        )
        for place in range(1, len(GROWTH))
        for key, what, unit in (
            ("cpu_seconds", "processor time of the graph", "s"),
            ("memory_gib", "memory that the graph adds", "GiB"),
        )
    ]


def catalogs(folder: Path) -> list[PeerComparison]:
    """Merge the edges of a catalog, and of one of ten times the items."""
    small = write_edges(folder / "few", 1_000)
    entries, figures = [], []
    for items in progress(CATALOGS, "catalogs"):
        edges = write_edges(folder / f"items{items}", items)
        scans = (pl.scan_parquet(edges / f"{part}.parquet") for part in KINDS)
        entries.append(sum(scan.select(pl.len()).collect().item() for scan in scans))
        figures.append(alone(measured, merged, small, edges)[1])
    # The edges themselves are read within the task: 16 bytes each.
    added = [
        of["memory_gib"] * 2**30 / count - 16 for of, count in zip(figures, entries, strict=True)
    ]
    less, more = figures
    grown = [
        PeerComparison(
            what=f"{what} of the merge, {entries[0]:,} to {entries[1]:,} edges "
            f"({two_digits(less[key])} to {two_digits(more[key])} {unit}; extrapolated "
            f"{two_digits(extrapolated(less[key], more[key], 10))} {unit} for "
            f"{10 * CATALOGS[1]:,} items)",
            unit="times",
            peer=f"growth in proportion to the catalog, {CATALOGS[0]:,} to {CATALOGS[1]:,} items",
            okml_value=more[key] / less[key],
            peer_value=entries[1] / entries[0],
        )
        for key, what, unit in (
            ("cpu_seconds", "processor time", "s"),
            ("memory_gib", "memory", "GiB"),
        )
    ]
    an_edge = PeerComparison(
        what="memory of the merge, beyond the edges",
        unit="bytes an edge",
        peer=f"the same merge of {CATALOGS[0]:,} items instead of {CATALOGS[1]:,}",
        okml_value=added[1],
        peer_value=added[0],
    )
    return [*grown, an_edge]


def measure(arguments: argparse.Namespace) -> BenchmarkRecord:
    """Run all parts and write the record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = write_log(folder / "small", ShopSettings(items=500, users=300, sessions=1_000))
        comparisons, checks, what = contest(arguments, folder, small)
        comparisons += growth(arguments, folder, small) + catalogs(folder)
    return write_benchmark(
        arguments.out, "Swing and the item graph", f"{what}; the graph on all cores.",
        comparisons, checks,
    )  # fmt: skip


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sessions", type=int, default=20_000, help="visits, of the contest")
    parser.add_argument("--growth-sessions", type=int, default=4_000, help="of the shortest log")
    parser.add_argument("--repeats", type=int, default=3)
    print(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
