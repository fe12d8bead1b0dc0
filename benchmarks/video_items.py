"""Items as vectors: residual k-means beside scikit-learn's, look-ups beside an embedding's.

Two questions, each answered in one run on one machine:

- how long residual k-means takes beside scikit-learn's ``KMeans`` on the same residuals, from one
  k-means++ start and with as many iterations, at an error that is as small;
- what a training step's look-ups (forward and backward) cost beside ``nn.Embedding`` of as many
  items, and how many rows each table has for it.

    python benchmarks/video_items.py --out video_items.json
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import sklearn
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from okml.benchmark import (
    BenchmarkRecord,
    Check,
    PeerComparison,
    in_turns,
    parser_of,
    write_benchmark,
)
from okml.video_workshop.common.table import ItemTable
from okml.video_workshop.items.maker import TableMaker, size_of
from okml.video_workshop.items.quantizers import RQKMeans
from okml.video_workshop.settings.items import ItemArm, ItemsSettings
from okml.video_workshop.settings.users import UserModelSettings

VECTORS, FEATURES, TOPICS = 20_000, 64, 300
LEVELS, CODES, ITERATIONS = 4, 128, 25
BATCH, LENGTH, WIDTH = 256, 50, 64
ARMS: tuple[ItemArm, ...] = ("hash", "sid_unigram", "sid_prefix", "hybrid_sid")
WORSE = 0.02  # of the error after all levels; both depend on their starts
PEER = f"scikit-learn {sklearn.__version__}"


def vectors() -> Tensor:
    """Return vectors that have topics, as embeddings of texts do, ``[N, f]``."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(TOPICS, FEATURES))
    x = centers[rng.integers(TOPICS, size=VECTORS)] + 0.6 * rng.normal(size=(VECTORS, FEATURES))
    return torch.from_numpy(x.astype(np.float32))


def ours(x: Tensor) -> float:
    """Return the share of the variance that is left."""
    quantizer = RQKMeans(LEVELS, CODES, FEATURES, ITERATIONS).fit(x)
    left = x - quantizer.decode(quantizer.encode(x))
    return float(left.square().sum() / (x - x.mean(0)).square().sum())


def of_scikit_learn(x: Tensor) -> float:
    """Return the same of scikit-learn's k-means, level by level."""
    start = (x - x.mean(0)).numpy()
    residual = start
    for level in range(LEVELS):
        # tol=0: it ends as ours does, when nothing moves or after all iterations.
        model = KMeans(CODES, n_init=1, max_iter=ITERATIONS, tol=0, random_state=level)
        residual = residual - model.fit(residual).cluster_centers_[model.labels_]
    return float((residual**2).sum() / (start**2).sum())


def tables() -> dict[ItemArm, ItemTable]:
    """Return the tables of a catalog, the plain one first."""
    x = vectors()
    features = np.concatenate([np.zeros((1, FEATURES), np.float32), x.numpy()])
    counts = np.ones(VECTORS + 1, np.int64)
    counts[0] = 0
    settings = ItemsSettings(
        levels=LEVELS, codes=CODES, prefix_codes=CODES, model=UserModelSettings(width=WIDTH)
    )
    maker = TableMaker(lambda seed: {"text": features}, counts, settings)
    return {arm: maker.make(arm, seed=0) for arm in ("id", *ARMS)}


def step(table: ItemTable, ids: Tensor) -> None:
    """Look up a batch and send a gradient back."""
    table.zero_grad()
    table.lookup(ids).sum().backward()  # type: ignore[no-untyped-call]


def record(arguments: argparse.Namespace) -> BenchmarkRecord:
    torch.set_num_threads(arguments.threads)
    x = vectors()
    k_means = {"okml": partial(ours, x), PEER: partial(of_scikit_learn, x)}
    figures, errors = in_turns(k_means, arguments.repeats, warm=1)
    comparisons = [
        PeerComparison(
            what="residual k-means", unit="seconds", peer=f"KMeans of {PEER}, level by level",
            okml_value=figures["okml"]["seconds"], peer_value=figures[PEER]["seconds"],
            repeats=arguments.repeats,
        )
    ]  # fmt: skip
    ids = torch.randint(1, VECTORS + 1, (BATCH, LENGTH))
    made = tables()
    steps = {arm: partial(step, table, ids) for arm, table in made.items()}
    figures, _ = in_turns(steps, 10 * arguments.repeats, warm=1)
    for arm in ARMS:
        comparisons.append(
            PeerComparison(
                what=f"look-ups of a step, {arm}, {size_of(made[arm]).rows:,} rows",
                unit="milliseconds", peer=f"nn.Embedding of {VECTORS:,} rows",
                okml_value=1000 * figures[arm]["seconds"],
                peer_value=1000 * figures["id"]["seconds"],
                repeats=10 * arguments.repeats,
            )
        )  # fmt: skip
    check = Check(
        what="how much more variance our codes leave than scikit-learn's",
        difference=max(0.0, errors["okml"] / errors[PEER] - 1),
        tolerance=WORSE,
    )
    return write_benchmark(
        arguments.out,
        "Items as codes and rows",
        f"{VECTORS:,} vectors of {FEATURES} numbers around {TOPICS} topics: {LEVELS} levels of "
        f"{CODES} codes, one k-means++ start, at most {ITERATIONS} iterations; and the forward and "
        f"backward pass of {BATCH} x {LENGTH} look-ups of width {WIDTH} with dense gradients, "
        f"float32 on {arguments.threads} threads.",
        comparisons,
        [check],
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    print(record(parser.parse_args()))


if __name__ == "__main__":
    main()
