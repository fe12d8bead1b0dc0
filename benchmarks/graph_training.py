"""Training on an item graph: okml beside PyG, in one run on one machine, and its growth.

All contestants train on the same pairs with the same loss and optimizer, on a regular symmetric
graph, where symmetric normalization is the mean over neighbors. One hop is computed once by okml
and by PyG's SIGN and cached SGConv. Of two hops, okml samples neighborhoods, so that it can leave
out the edge that it predicts, while SIGN computes linear hops once and GraphSAGE passes messages
over the whole graph in every step: PyG's neighbor loaders need compiled extensions that the package
index does not have. They take turns and the median round counts.

Then okml alone works on catalogs of 100 thousand and of a million items, from which ten million
are extrapolated.

    python benchmarks/graph_training.py --out graph_training.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
import torch
import torch_geometric
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import SGConv
from torch_geometric.nn.models import GraphSAGE
from torch_geometric.transforms import SIGN

from okml.benchmark import (
    BenchmarkRecord,
    Check,
    Figures,
    PeerComparison,
    extrapolated,
    in_turns,
    parser_of,
    taken_with_memory,
    two_digits,
    write_benchmark,
)
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.baselines.pinsage import visit_counts
from okml.lightsage.features import hop_features
from okml.lightsage.network.encoder import VARIANTS, LightSAGE
from okml.lightsage.network.sampler import NeighborSampler
from okml.lightsage.tail import group_tail
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
WIDTH = VARIANTS["V0"].width
CATALOGS = (100_000, 1_000_000)  # items
PYG = f"PyG {torch_geometric.__version__}"


@dataclass(frozen=True)
class Problem:
    """A regular symmetric graph with equal weights, and features."""

    features: Tensor
    adjacency: Adjacency
    positives: Positives
    edge_index: Tensor
    batch: int


def random_problem(items: int, neighbors: int, width: int, batch: int) -> Problem:
    """Return a graph in which every item has the same number of neighbors, far from it.

    Items on a ring are linked at random distances, then numbered at random.
    """
    rng = np.random.default_rng(SEED)
    number = rng.permutation(items)
    distances = rng.choice(np.arange(1, (items - 1) // 2), neighbors // 2, replace=False)
    item = np.concatenate([number, number] * len(distances))
    turns = [turn for distance in distances for turn in (distance, -distance)]
    neighbor = np.concatenate([np.roll(number, turn) for turn in turns])
    adjacency = Adjacency.from_edges(items, item, neighbor, np.ones(len(item)))
    frame = pl.DataFrame({"item": item, "neighbor": neighbor, "weight": np.ones(len(item))})
    return Problem(
        torch.from_numpy(rng.normal(size=(items, width)).astype(np.float32)),
        adjacency,
        Positives.of(frame, items),
        torch.from_numpy(np.stack([neighbor, item])),  # messages go from a neighbor to the item
        batch,
    )


class Peer(nn.Module):
    """A network of PyG under okml's loss: it returns the vectors of some items."""

    def vectors(self, ids: Tensor) -> Tensor:
        """Return vectors of items, not scaled, ``[n, d]``."""
        raise NotImplementedError

    def forward(self, batch: PairBatch) -> Tensor:
        """Return the loss of the pairs of a batch."""
        ids = torch.cat([batch.query_ids, batch.target_ids, batch.negative_ids])
        vectors = nn.functional.normalize(self.vectors(ids), dim=-1)
        sizes = [len(batch.query_ids), len(batch.target_ids), len(batch.negative_ids)]
        return pair_loss(
            LOSS,
            Encoded(
                *vectors.split(sizes), batch.query_ids, batch.target_ids, batch.negative_ids,
                batch.target_log_q, batch.negative_log_q,
            ),
        )  # fmt: skip


class Sign(Peer):
    """SIGN: rows of X, A X, ... that its transform has computed, and one linear map."""

    def __init__(self, problem: Problem, hops: int) -> None:
        super().__init__()
        data = SIGN(hops)(Data(x=problem.features, edge_index=problem.edge_index))
        self.tables = [data.x, *(data[f"x{hop}"] for hop in range(1, hops + 1))]
        self.linear = nn.Linear(len(self.tables) * problem.features.shape[1], WIDTH)

    def vectors(self, ids: Tensor) -> Tensor:
        """Return the linear map of the rows of all hops."""
        found: Tensor = self.linear(torch.cat([table[ids] for table in self.tables], 1))
        return found


class Cached(Peer):
    """SGConv: the linear map of the cached A X, of all items in each step."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        width = problem.features.shape[1]
        self.model = SGConv(width, WIDTH, cached=True, add_self_loops=False)
        self.features, self.edge_index = problem.features, problem.edge_index

    def vectors(self, ids: Tensor) -> Tensor:
        """Return rows of the convolution."""
        found: Tensor = self.model(self.features, self.edge_index)[ids]
        return found


class Whole(Peer):
    """GraphSAGE of two layers over the whole graph."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.model = GraphSAGE(problem.features.shape[1], WIDTH, 2, act="relu")
        self.features, self.edge_index = problem.features, problem.edge_index

    def vectors(self, ids: Tensor) -> Tensor:
        """Return rows of the last layer."""
        found: Tensor = self.model(self.features, self.edge_index)[ids]
        return found


@dataclass(frozen=True)
class Contest:
    """A variant of okml's network, and the peer that it is compared with."""

    variant: str
    how: str
    name: str
    peer: Callable[[Problem], Peer]
    weights: Callable[[nn.Module], list[Tensor]] | None = None  # of the peer, as okml has them
    slow: bool = False


def of_sage(peer: nn.Module) -> list[Tensor]:
    """Return the weights of GraphSAGE's layers as okml has them."""
    layers = peer.model.convs  # type: ignore[union-attr]
    return [torch.cat([layer.lin_r.weight, layer.lin_l.weight], 1) for layer in layers]  # type: ignore[union-attr]


CONTESTS = (
    Contest(
        "V0", "one hop, computed once", f"{PYG} SIGN of one hop",
        lambda problem: Sign(problem, 1), lambda peer: [peer.linear.weight],
    ),
    Contest(
        "V6", "neighbors only, computed once", f"{PYG} SGConv, cached",
        Cached, lambda peer: [peer.model.lin.weight],
    ),
    Contest(
        "V2", "two linear hops, sampled without the predicted edge",
        f"{PYG} SIGN of two hops, which keeps that edge", lambda problem: Sign(problem, 2),
    ),
    Contest(
        "V3", "two hops, sampled", f"{PYG} GraphSAGE of 2 layers, whole graph a step",
        Whole, of_sage, slow=True,
    ),
)  # fmt: skip


class Nothing:
    """Reads nothing: the peers look rows up by themselves."""

    device = torch.device("cpu")

    def read(self, pairs: object, others: object, rng: object) -> tuple[()]:
        """Return nothing."""
        return ()


def okml_source(
    problem: Problem, variant: str, fan_outs: tuple[int, ...], leave_edge_out: bool
) -> PairBatches:
    """Return okml's batches; means over neighbors are computed here and count as training time."""
    if VARIANTS[variant].sampled:
        sampler = NeighborSampler(problem.adjacency, fan_outs)
        reader = BlockReader(problem.features, sampler, leave_edge_out=leave_edge_out)
    else:
        hops = hop_features(problem.features, problem.adjacency)
        reader = HopReader(hops, leave_edge_out=leave_edge_out)
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


def new_okml(problem: Problem, variant: str) -> ContrastiveModel:
    torch.manual_seed(SEED)
    return ContrastiveModel(LightSAGE(VARIANTS[variant], problem.features.shape[1]), LOSS)


def new_peer(problem: Problem, contest: Contest) -> Peer:
    torch.manual_seed(SEED)
    return contest.peer(problem)


def peer_source(problem: Problem) -> PairBatches:
    return PairBatches(problem.positives, Nothing(), NEGATIVES, problem.batch)


def check(problem: Problem, contest: Contest) -> Check:
    """Train both from equal weights on all neighbors; their weights must stay equal."""
    ours, peer = new_okml(problem, contest.variant), new_peer(problem, contest)
    biases = [value for name, value in peer.named_parameters() if name.endswith("bias")]
    with torch.no_grad():
        for hop, weight, bias in zip(ours.encoder.hops, contest.weights(peer), biases, strict=True):
            hop.linear.weight.copy_(weight)
            hop.linear.bias.copy_(bias)
    every = (problem.adjacency.width,) * len(ours.encoder.hops)
    train(ours, okml_source(problem, contest.variant, every, leave_edge_out=False), CHECKED_STEPS)
    train(peer, peer_source(problem), CHECKED_STEPS)
    differences = [
        (hop.linear.weight - weight).abs().max() / hop.linear.weight.abs().max()
        for hop, weight in zip(ours.encoder.hops, contest.weights(peer), strict=True)
    ]
    return Check(
        what=f"weights beside {contest.name} after {CHECKED_STEPS} steps, all neighbors read",
        difference=max(differences).item(),
        tolerance=TOLERANCE,
    )


def measure(problem: Problem, contest: Contest, arguments: argparse.Namespace) -> PeerComparison:
    """Let both take turns; a round begins from new weights and ends after some steps."""
    sampled = VARIANTS[contest.variant].sampled

    def with_okml(steps: int) -> None:
        source = okml_source(problem, contest.variant, arguments.fan_outs, leave_edge_out=sampled)
        train(new_okml(problem, contest.variant), source, steps)

    def with_peer(steps: int) -> None:
        train(new_peer(problem, contest), peer_source(problem), steps)

    with_okml(2), with_peer(2)  # libraries load and warm up
    steps = {
        "okml": arguments.sampled_steps if sampled else arguments.steps,
        "peer": arguments.whole_steps if contest.slow else arguments.steps,
    }
    trainings = {
        "okml": partial(with_okml, steps["okml"]),
        "peer": partial(with_peer, steps["peer"]),
    }
    figures, _ = in_turns(trainings, arguments.repeats)
    rates = {name: steps[name] * problem.batch / of["cpu_seconds"] for name, of in figures.items()}
    return PeerComparison(
        what=f"training pairs a processor second, {contest.how}",
        unit="pairs/s",
        peer=contest.name,
        okml_value=rates["okml"],
        peer_value=rates["peer"],
        better="higher",
        repeats=arguments.repeats,
    )


def works(problem: Problem, arguments: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return the work of a run that could grow with the catalog, by name."""
    items, adjacency, features = len(problem.features), problem.adjacency, problem.features
    network, sage = new_okml(problem, "V0"), new_okml(problem, "V3")
    hops = hop_features(features, adjacency)
    one = PairBatches(problem.positives, HopReader(hops), NEGATIVES, problem.batch)
    two = okml_source(problem, "V3", arguments.fan_outs, leave_edge_out=True)
    (
        one.batch(np.arange(1), np.random.default_rng(0)),
        two.batch(np.arange(1), np.random.default_rng(0)),
    )
    rng = np.random.default_rng(SEED)
    kinds = np.sort(rng.integers(0, items // 100, items))
    few = rng.random(items) < 0.3
    return {
        "means of neighbors, A X": lambda: hop_features(features, adjacency),
        "vectors of all items, one hop": lambda: network.encoder.embed_hops(hops),
        "vectors of all items, two hops": lambda: sage.encoder.embed(features, adjacency),
        "groups of the tail": lambda: group_tail(
            few, kinds // 10, kinds, features.numpy(), size=12
        ),
        "two walks from each item": lambda: visit_counts(adjacency, 2, 3, 0.5, rng, most=50),
        f"{arguments.grown_steps} steps of one hop": lambda: train(
            network, one, arguments.grown_steps
        ),
        f"{arguments.grown_steps} steps of two sampled hops": lambda: train(
            sage, two, arguments.grown_steps
        ),
    }


def growth(arguments: argparse.Namespace) -> list[PeerComparison]:
    """Do the same work on catalogs of ten times the items."""
    found: list[dict[str, Figures]] = []
    for items in progress(CATALOGS, "catalogs"):
        problem = random_problem(items, arguments.neighbors, arguments.width, arguments.batch)
        tasks = works(problem, arguments)
        found.append({name: taken_with_memory(work)[1] for name, work in tasks.items()})
    times = CATALOGS[1] / CATALOGS[0]
    comparisons = []
    for name in found[0]:
        seconds, gib = ([of[name][key] for of in found] for key in ("cpu_seconds", "memory_gib"))
        comparisons.append(
            PeerComparison(
                what=f"{name}, {times:.0f} times the items: {two_digits(seconds[0])} to "
                f"{two_digits(seconds[1])} processor seconds, {two_digits(gib[0])} to "
                f"{two_digits(gib[1])} GiB added; extrapolated "
                f"{two_digits(extrapolated(*seconds, times))} s and "
                f"{two_digits(extrapolated(*gib, times))} GiB for {10 * CATALOGS[1]:,} items",
                unit="times the seconds",
                peer=f"growth in proportion to the catalog, {CATALOGS[0]:,} to {CATALOGS[1]:,} "
                "items",
                okml_value=seconds[1] / seconds[0],
                peer_value=times,
            )
        )
    return comparisons


def compare(arguments: argparse.Namespace) -> BenchmarkRecord:
    """Check on a small graph, measure on the large ones."""
    torch.set_num_threads(arguments.threads)
    small = random_problem(1_000, 6, arguments.width, 128)
    large = random_problem(arguments.items, arguments.neighbors, arguments.width, arguments.batch)
    comparisons = [measure(large, contest, arguments) for contest in CONTESTS]
    return write_benchmark(
        arguments.out,
        "Training on an item graph",
        f"Pairs of a regular graph of {arguments.items:,} items with {arguments.neighbors} "
        f"neighbors and {arguments.width} features each, batches of {arguments.batch} pairs and "
        f"{NEGATIVES.count} negatives, softmax loss, AdamW, {WIDTH} outputs, {arguments.threads} "
        f"thread; two hops sample {arguments.fan_outs} neighbors; preparation counts as training.",
        comparisons + growth(arguments),
        [check(small, contest) for contest in CONTESTS if contest.weights is not None],
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--neighbors", type=int, default=16)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--fan-outs", type=int, nargs=2, default=(10, 5))
    parser.add_argument("--steps", type=int, default=200, help="of one hop")
    parser.add_argument("--sampled-steps", type=int, default=40, help="of two sampled hops")
    parser.add_argument("--whole-steps", type=int, default=4, help="of a peer with the whole graph")
    parser.add_argument("--grown-steps", type=int, default=20, help="on the large catalogs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    arguments.fan_outs = tuple(arguments.fan_outs)
    print(compare(arguments))


if __name__ == "__main__":
    main()
