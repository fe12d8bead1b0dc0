"""Training on an item graph: okml beside plain PyG GraphSAGE, in one run on one machine.

All contestants train on the same pairs with the same loss and optimizer. PyG's neighbor loaders
need compiled extensions that the package index does not have, so plain PyG passes messages over the
whole graph in every step. okml computes the means over neighbors once where a network has one hop,
and samples neighborhoods where it has two. They take turns and the median round counts.

    python benchmarks/graph_training.py --out graph_training.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torch_geometric
from torch import Tensor, nn
from torch_geometric.nn.models import GraphSAGE

from okml.benchmark import BenchmarkRecord, Check, PeerComparison, write_benchmark
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.features import hop_features
from okml.lightsage.network.encoder import EncoderSettings, LightSAGE
from okml.lightsage.network.sampler import NeighborSampler
from okml.lightsage.training.batches import (
    BlockReader,
    HopReader,
    NegativeSettings,
    PairBatch,
    PairBatches,
    Positives,
)
from okml.lightsage.training.losses import Encoded, LossSettings, pair_loss
from okml.lightsage.training.trainer import ContrastiveModel
from okml.runtime import progress

SEED = 0
LOSS = LossSettings()
NEGATIVES = NegativeSettings()
TOLERANCE = 1e-3  # of weights after some steps, as a share of the largest
CHECKED_STEPS = 5
SETTINGS = {1: EncoderSettings(), 2: EncoderSettings(layers=2, activation="between")}


@dataclass(frozen=True)
class Problem:
    """A random graph with equal weights, so that PyG's plain mean is the same mean."""

    features: np.ndarray
    adjacency: Adjacency
    positives: Positives
    edge_index: Tensor
    batch: int


def random_problem(items: int, neighbors: int, width: int, batch: int) -> Problem:
    """Return a graph in which every item has the same number of random neighbors."""
    rng = np.random.default_rng(SEED)
    source = np.repeat(np.arange(items), neighbors)
    target = (source + rng.integers(1, items, len(source))) % items
    frame = pl.DataFrame({"item": source, "neighbor": target}).unique(maintain_order=True)
    item, neighbor = (frame[name].to_numpy() for name in ("item", "neighbor"))
    adjacency = Adjacency.from_edges(items, item, neighbor, np.ones(len(item)))
    return Problem(
        rng.normal(size=(items, width)).astype(np.float32),
        adjacency,
        Positives.of(frame.with_columns(weight=pl.lit(1.0)), items),
        torch.from_numpy(np.stack([neighbor, item])),  # messages go from a neighbor to the item
        batch,
    )


class Plain(nn.Module):
    """PyG's GraphSAGE over the whole graph, its vectors scaled and looked up."""

    def __init__(self, problem: Problem, layers: int) -> None:
        super().__init__()
        width = EncoderSettings().width
        self.model = GraphSAGE(problem.features.shape[1], width, layers, act="relu")
        self.features = torch.from_numpy(problem.features)
        self.edge_index = problem.edge_index

    def forward(self, batch: PairBatch) -> Tensor:
        """Return the loss of the pairs of a batch."""
        vectors = nn.functional.normalize(self.model(self.features, self.edge_index), dim=-1)
        return pair_loss(
            LOSS,
            Encoded(
                vectors[batch.query_ids], vectors[batch.target_ids], vectors[batch.negative_ids],
                batch.query_ids, batch.target_ids, batch.negative_ids, batch.target_log_q,
                batch.negative_log_q,
            ),
        )  # fmt: skip


class Nothing:
    """Reads nothing: plain PyG has the whole graph in every step."""

    def read(self, pairs: object, others: object, rng: object) -> tuple[()]:
        """Return nothing."""
        return ()


def okml_source(problem: Problem, layers: int, fan_outs: tuple[int, ...]) -> PairBatches:
    """Return okml's batches; means over neighbors are computed here and count as training time."""
    if layers == 1:
        hops = hop_features(problem.features, problem.adjacency)
        reader = HopReader(hops, leave_edge_out=False)
    else:
        sampler = NeighborSampler(problem.adjacency, fan_outs)
        reader = BlockReader(problem.features, sampler, leave_edge_out=False)
    return PairBatches(problem.positives, reader, NEGATIVES, problem.batch)


def batches(source: PairBatches, steps: int) -> Iterator[PairBatch]:
    for step in range(steps):
        yield source.batch(np.arange(source._batch_size), np.random.default_rng([SEED, step]))


def train(module: nn.Module, source: PairBatches, steps: int) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=1e-4)
    for batch in batches(source, steps):
        optimizer.zero_grad()
        module(batch).backward()
        optimizer.step()


def new_okml(problem: Problem, layers: int) -> ContrastiveModel:
    torch.manual_seed(SEED)
    return ContrastiveModel(LightSAGE(SETTINGS[layers], problem.features.shape[1]), LOSS)


def new_plain(problem: Problem, layers: int) -> Plain:
    torch.manual_seed(SEED)
    return Plain(problem, layers)


def plain_source(problem: Problem) -> PairBatches:
    return PairBatches(problem.positives, Nothing(), NEGATIVES, problem.batch)


def check(problem: Problem, layers: int) -> Check:
    """Train both from equal weights on all neighbors; their weights must stay equal."""
    ours, plain = new_okml(problem, layers), new_plain(problem, layers)
    with torch.no_grad():
        for hop, peer in zip(ours.encoder.hops, plain.model.convs, strict=True):
            hop.linear.weight.copy_(torch.cat([peer.lin_r.weight, peer.lin_l.weight], 1))
            hop.linear.bias.copy_(peer.lin_l.bias)
    every = problem.adjacency.neighbors.shape[1]
    train(ours, okml_source(problem, layers, (every,) * layers), CHECKED_STEPS)
    train(plain, plain_source(problem), CHECKED_STEPS)
    differences = [
        (hop.linear.weight - torch.cat([peer.lin_r.weight, peer.lin_l.weight], 1)).abs().max()
        / hop.linear.weight.abs().max()
        for hop, peer in zip(ours.encoder.hops, plain.model.convs, strict=True)
    ]
    return Check(
        what=f"weights of {layers} layer{'s' * (layers > 1)} after {CHECKED_STEPS} steps, all "
        "neighbors read",
        difference=float(max(differences)),
        tolerance=TOLERANCE,
    )


def edges_per_second(run: Callable[[], None], pairs: int) -> float:
    started = time.perf_counter()
    run()
    return pairs / (time.perf_counter() - started)


def measure(problem: Problem, layers: int, arguments: argparse.Namespace) -> PeerComparison:
    """Let both take turns; a round begins from new weights and ends after some steps."""
    rates: dict[str, list[float]] = {"okml": [], "plain": []}

    def with_okml(steps: int) -> None:
        source = okml_source(problem, layers, arguments.fan_outs)
        train(new_okml(problem, layers), source, steps)

    def with_plain(steps: int) -> None:
        train(new_plain(problem, layers), plain_source(problem), steps)

    with_okml(2), with_plain(2)  # libraries load and warm up
    for _ in progress(range(arguments.repeats), "repeats"):
        for name, run, steps in (
            ("okml", with_okml, arguments.steps), ("plain", with_plain, arguments.plain_steps),
        ):  # fmt: skip
            rates[name].append(edges_per_second(lambda: run(steps), steps * problem.batch))  # noqa: B023
    how = "one hop, computed once" if layers == 1 else f"two hops, {arguments.fan_outs} sampled"
    return PeerComparison(
        what=f"training edges, {how}",
        unit="edges/s",
        peer=f"PyG {torch_geometric.__version__} GraphSAGE of {layers} "
        f"layer{'s' * (layers > 1)}, whole graph a step",
        okml_value=statistics.median(rates["okml"]),
        peer_value=statistics.median(rates["plain"]),
        better="higher",
        repeats=arguments.repeats,
    )


def compare(arguments: argparse.Namespace) -> BenchmarkRecord:
    """Check on a small graph, measure on the large one."""
    torch.set_num_threads(arguments.threads)
    small = random_problem(1_000, 6, arguments.width, 128)
    large = random_problem(arguments.items, arguments.neighbors, arguments.width, arguments.batch)
    return write_benchmark(
        arguments.out,
        "Training on an item graph",
        f"Pairs of a random graph of {arguments.items:,} items with {arguments.neighbors} "
        f"neighbors and {arguments.width} features each, batches of {arguments.batch} pairs and "
        f"{NEGATIVES.count} negatives, softmax loss, AdamW, 64 outputs, {arguments.threads} "
        "thread; okml's preparation counts as training.",
        [measure(large, layers, arguments) for layers in (1, 2)],
        [check(small, layers) for layers in (1, 2)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the result goes (JSON)")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--neighbors", type=int, default=15)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--fan-outs", type=int, nargs=2, default=(10, 5))
    parser.add_argument("--steps", type=int, default=200, help="of okml")
    parser.add_argument("--plain-steps", type=int, default=6, help="of plain PyG")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    arguments.fan_outs = tuple(arguments.fan_outs)
    for item in compare(arguments).comparisons:
        print(f"{item.what}: {item.ratio:.1f}x {item.peer}")


if __name__ == "__main__":
    main()
