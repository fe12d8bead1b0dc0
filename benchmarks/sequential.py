"""SASRec on MovieLens-100K: okml beside RecTools and RecBole, in one run on one machine.

All train 2 blocks of 64 dimensions on histories of 50 items, leaving each user's last two events
out, and choose among 1682 items. Every contestant runs on one thread of a process of its own, and
they take turns for a few rounds, each with another seed; medians count. Time is that of the
processor, so that other programs do not matter. Quality is NDCG@10 on the validation targets after
each epoch, seen items filtered, with the clock standing still. The level that is timed is 99 % of
the best that RecTools reaches in the round.

okml's training is timed as it is and compiled by torch.compile, whose own time the record names.
RecBole trains on one target a row and takes minutes an epoch, so a number of its steps is timed.
RecTools and RecBole are installed into _build/peers, since they need another NumPy than okml.

The anchor to the literature is quality alone: okml's SASRec with the full softmax on MovieLens-1M,
at the published length, width, heads and layers, beside the published NDCG@10. Its weights are
averaged over some epochs. The trainings of all seeds share the cores and take most of the time,
about an hour on two.

    python benchmarks/sequential.py --out sequential.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
import venv
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from okml.benchmark import (
    BenchmarkRecord,
    Check,
    PeerComparison,
    Quantity,
    alone,
    compare,
    medians,
    parser_of,
    write_benchmark,
)
from okml.data import logs
from okml.data.logs import LogName
from okml.errors import RecordError
from okml.paths import repository_root
from okml.runtime import peak_memory_gib, progress, seed_everything
from okml.seqrec.backbone import Backbone
from okml.seqrec.batches import CausalBatches, LastTargetBatches
from okml.seqrec.interactions import Interactions
from okml.seqrec.losses import ChunkedSoftmax
from okml.seqrec.metrics import mean_metrics, ndcg
from okml.seqrec.ranking import rank_rows
from okml.seqrec.scorers import encoder_scorer, score_function_scorer
from okml.seqrec.settings import BackboneSettings
from okml.seqrec.splits import Split, leave_one_out
from okml.seqrec.tasks import (
    Evaluation,
    EveryPosition,
    OptimizerSettings,
    build_optimizer,
    objective_task,
    validation,
)
from okml.training import History, TrainingSettings, fit

HERE = Path(__file__).parent
PEER_SCRIPTS = HERE / "sequential_peers"
PEERS = {"rectools": "RecTools 0.19.0", "recbole": "RecBole 1.2.1"}
SHARED = {"length": 50, "width": 64, "heads": 2, "layers": 2}
BATCH_SIZE = 64  # windows
LEARNING_RATE = 2e-3
SHARE_OF_BEST = 0.99
COMPILED_EPOCHS = 6  # the first of which compiles
# Both rank float32 scores; a difference would be another split, filter or metric.
TOLERANCE = 1e-6
CHUNK_BYTES = 2**20  # of logits, as in the chapters' profiles for a CPU
FLOOR = "arithmetic floor: operations over measured matrix throughput"

# SASRec with cross-entropy in Klenitskiy and Vasilev (2023): its sizes, and its NDCG@10 on the last
# item of each user of MovieLens-1M, all items ranked, seen ones filtered.
ANCHOR = {"length": 200, "width": 64, "heads": 1, "layers": 2}
PUBLISHED, PUBLISHED_NDCG = "SASRec as published (Klenitskiy and Vasilev, 2023)", 0.182
# With averaged weights and small batches causal SASRec is better in the chapter on STRec, too.
ANCHOR_BATCH_SIZE, ANCHOR_AVERAGE = 32, 0.999
PATIENCE = 5  # epochs without a better validation, after which the anchor's training ends

LEVEL = Quantity("seconds_to_level", "training time to the same validation NDCG@10", "s")
SPEED = (
    Quantity("targets_per_second", "training", "targets/s", better="higher"),
    Quantity("users_per_second", "evaluation", "users/s", better="higher"),
    Quantity("peak_memory", "peak memory", "GiB"),
)


def okml_backbone(items: int, sizes: Mapping[str, int] = SHARED) -> Backbone:
    return Backbone(items, BackboneSettings(**sizes, hidden=256, dropout=0.2))


class Epochs:
    """An evaluation that only keeps the weights; the clock stands still meanwhile."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.weights: list[dict[str, Tensor]] = []
        self._used, self._started = 0.0, time.process_time()

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """Stop the clock, copy the weights, and let it go on."""
        self._used += time.process_time() - self._started
        self.seconds.append(self._used)
        state = model.encoder.state_dict()
        self.weights.append({name: value.clone() for name, value in state.items()})
        self._started = time.process_time()
        return {}


def train_okml(
    encoder: Backbone,
    windows: CausalBatches,
    evaluate: Evaluation,
    *,
    epochs: int,
    seed: int,
    batch_size: int = BATCH_SIZE,
    **others: Any,
) -> History:
    """Train SASRec with the full softmax; ``others`` are fields of :class:`TrainingSettings`."""
    objective = EveryPosition(encoder, ChunkedSoftmax(CHUNK_BYTES))
    optimizer = build_optimizer(objective, OptimizerSettings(learning_rate=LEARNING_RATE))
    run = TrainingSettings(
        batch_size=batch_size, max_epochs=epochs, evaluate_every=1, seed=seed, log_every=10**6,
        device="cpu", **others,
    )  # fmt: skip
    return fit(objective_task(objective, optimizer, evaluate), windows, run)


def run_okml(seed: int, max_epochs: int, *, compiled: bool = False) -> dict[str, Any]:
    """Train, then rank the validation targets with the weights of every epoch."""
    torch.set_num_threads(1)
    interactions, split = load()
    seed_everything(seed)
    encoder = okml_backbone(interactions.item_count)
    side = encoder.padding_side
    source = CausalBatches(
        interactions, split.training_windows(interactions, SHARED["length"]), padding_side=side
    )
    epochs = Epochs()
    train_okml(encoder, source, epochs, epochs=max_epochs, seed=seed, compile=compiled)

    rows = LastTargetBatches(interactions, split.valid, SHARED["length"], padding_side=side)
    quality, evaluated = [], []
    encoder.eval()
    for weights in epochs.weights:
        encoder.load_state_dict(weights)
        started = time.process_time()
        ranks = rank_rows(encoder_scorer(encoder), rows, hide_seen=True)
        evaluated.append(time.process_time() - started)
        quality.append(mean_metrics(ranks)["ndcg@10"])
    targets = len(split.train)
    an_epoch = statistics.median(np.diff(epochs.seconds))  # not the first, which may compile
    seconds_per_target = an_epoch / targets
    memory = peak_memory_gib()  # before the product below needs its own
    return {
        "seconds": epochs.seconds,
        "compiling": epochs.seconds[0] - an_epoch,
        "quality": quality,
        "targets_per_second": 1 / seconds_per_target,
        "users_per_second": len(rows) / statistics.median(evaluated),
        "peak_memory": memory,
        "microseconds_per_target": 1e6 * seconds_per_target,
        "floor": 1e6 * training_operations(encoder, len(source), targets) / matrix_throughput(),
        "saved": training_operations(encoder, targets, targets)
        / training_operations(encoder, len(source), targets),
    }


def training_operations(encoder: Backbone, windows: int, targets: int) -> float:
    """Return the operations of a target: forward, and twice that backward.

    Padded positions are counted as the kernels compute them, the catalog for real targets only.
    """
    n = SHARED["length"]
    reading = windows * sum(block.flops(n, n) for block in encoder.blocks)
    catalog = targets * 2 * encoder.item_matrix()[1:].numel()
    return 3 * (reading + catalog) / targets


def matrix_throughput(size: int = 2048, repeats: int = 5) -> float:
    """Return the operations a second of the best of some float32 products of square matrices."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    times = []
    for _ in range(repeats + 1):
        started = time.process_time()
        torch.mm(a, b)
        times.append(time.process_time() - started)
    return float(2 * size**3 / min(times))


def anchor_ndcg(epochs: int, seed: int) -> float:
    """Return okml's NDCG@10 on the test of MovieLens-1M, at the epoch of the best validation."""
    torch.set_num_threads(1)
    interactions, split = load("ml_1m")
    seed_everything(seed)
    encoder = okml_backbone(interactions.item_count, ANCHOR)
    length, side = ANCHOR["length"], encoder.padding_side
    windows = split.training_windows(interactions, length)
    source = CausalBatches(interactions, windows, padding_side=side, jitter=True)
    valid, test = (
        LastTargetBatches(interactions, rows, length, padding_side=side)
        for rows in (split.valid, split.test)
    )
    evaluate = validation(valid, hide_seen=True)
    history = train_okml(
        encoder, source, evaluate, epochs=epochs, seed=seed, batch_size=ANCHOR_BATCH_SIZE,
        ema_decay=ANCHOR_AVERAGE, monitor="ema/ndcg@10", patience=PATIENCE,
    )  # fmt: skip
    (average,) = history.averaged.values()
    assert isinstance(average, EveryPosition)
    ranks = rank_rows(encoder_scorer(average.encoder.eval()), test, hide_seen=True)
    return mean_metrics(ranks)["ndcg@10"]


def anchors(epochs: int, rounds: int) -> list[float]:
    """Return :func:`anchor_ndcg` of each seed, each trained in a process of its own."""
    with ProcessPoolExecutor(rounds, get_context("spawn")) as processes:
        found = processes.map(anchor_ndcg, [epochs] * rounds, range(rounds))
        return list(progress(found, "anchor", rounds))


def load(log: LogName = "ml_100k") -> tuple[Interactions, Split]:
    interactions = Interactions.from_frame(logs.load(log).frame)
    return interactions, leave_one_out(interactions)


def write_events(path: Path, interactions: Interactions, split: Split) -> None:
    """Write the events in our numbers and order, with the part of the split each belongs to."""
    part = np.full(len(interactions), "train")
    part[split.valid.end], part[split.test.end] = "valid", "test"
    user = interactions.users()
    place = np.arange(len(interactions)) - interactions.offsets[user]
    columns = {"user": user, "item": interactions.items, "place": place, "part": part}
    pl.DataFrame(columns).write_csv(path)


def peer_python() -> Path:
    """Return the interpreter of an environment with the peers, made if it is not there."""
    folder = repository_root() / "_build" / "peers"
    python, ready = folder / "bin" / "python", folder / "ready"
    requirements = (PEER_SCRIPTS / "requirements.txt").read_text() + torch.__version__
    if not ready.is_file() or ready.read_text() != requirements:
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        same_torch = f"torch=={torch.__version__.split('+')[0]}"
        subprocess.run([*pip, same_torch, "-r", PEER_SCRIPTS / "requirements.txt"], check=True)
        subprocess.run([*pip, "--no-deps", "recbole==1.2.1"], check=True)
        ready.write_text(requirements)
    return python


def contest(arguments: argparse.Namespace, folder: Path) -> list[dict[str, dict[str, Any]]]:
    """Let the contestants take turns; return the figures of each by round."""
    interactions, split = load()
    write_events(folder / "events.csv", interactions, split)
    python = str(peer_python())
    rounds = []
    for seed in progress(range(arguments.rounds), "rounds"):
        figures = {
            "okml": alone(run_okml, seed, arguments.okml_epochs),
            "compiled": alone(run_okml, seed, COMPILED_EPOCHS, compiled=True),
        }
        for name in PEERS:
            place = folder / f"{name}_{seed}"
            place.mkdir()
            settings = {
                **SHARED,
                "events": str(folder / "events.csv"),
                "result": str(place / "result.json"),
                "scores": str(folder / f"{name}.npy"),
                "seed": seed,
                "epochs": arguments.epochs,
                "steps": arguments.steps,
                "items": interactions.item_count,
            }
            (place / "settings.json").write_text(json.dumps(settings))
            done = subprocess.run(
                [python, str(PEER_SCRIPTS / f"{name}_sasrec.py"), str(place / "settings.json")],
                cwd=place, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise RecordError(f"{name} failed:\n{done.stderr[-2000:]}")
            figures[name] = json.loads((place / "result.json").read_text())
        time_levels(figures)
        rounds.append(figures)
    return rounds


def time_levels(figures: dict[str, dict[str, Any]]) -> None:
    """Note when okml and RecTools first reach the level.

    Raises:
        RecordError: If okml does not.
    """
    level = SHARE_OF_BEST * max(figures["rectools"]["quality"])
    for name in ("okml", "rectools"):
        reached = np.flatnonzero(np.array(figures[name]["quality"]) >= level)
        if not len(reached):
            raise RecordError(
                f"okml reached {max(figures['okml']['quality']):.4f} and RecTools "
                f"{max(figures['rectools']['quality']):.4f}: there is no same quality to time.",
                "Allow more epochs with --okml-epochs.",
            )
        figures[name]["seconds_to_level"] = figures[name]["seconds"][reached[0]]
        figures[name]["level"] = level


def check_quality(name: str, peer: Mapping[str, Any], folder: Path, hide_seen: bool) -> Check:
    """Rank a peer's last scores ourselves and compare with the NDCG@10 that it found."""
    interactions, split = load()
    table = torch.from_numpy(np.load(folder / f"{name}.npy"))  # [users, V + 1]
    rows = LastTargetBatches(interactions, split.valid, SHARED["length"])
    scorer = score_function_scorer(lambda batch: table[batch.user])
    ours = float(ndcg(rank_rows(scorer, rows, hide_seen=hide_seen), 10).mean())
    found = peer["quality"][-1] if name == "rectools" else peer["quality"]
    return Check(
        what=f"validation NDCG@10 of {PEERS[name]}'s scores, by its own evaluation and by ours",
        difference=abs(ours - found) / max(ours, found),
        tolerance=TOLERANCE,
    )


def record(arguments: argparse.Namespace, folder: Path) -> BenchmarkRecord:
    rounds = contest(arguments, folder)
    reached = anchors(arguments.anchor_epochs, arguments.rounds)
    keys = {LEVEL.key, *(quantity.key for quantity in SPEED), "level"}
    keys |= {"floor", "microseconds_per_target", "saved", "compiling"}
    middle = {
        name: medians([{key: of[name][key] for key in keys & of[name].keys()} for of in rounds])
        for name in rounds[0]
    }
    ours, compiled, last = middle["okml"], middle["compiled"], rounds[-1]
    rectools, recbole = ({PEERS[name]: middle[name]} for name in PEERS)
    comparisons = [
        *compare(ours, rectools, (LEVEL, *SPEED), arguments.rounds),
        *compare(ours, recbole, SPEED, arguments.rounds),
        *(
            PeerComparison(
                what=what, unit="µs/target", peer=FLOOR, repeats=arguments.rounds,
                okml_value=of["microseconds_per_target"], peer_value=of["floor"],
            )
            for what, of in (("training", ours), ("training, compiled", compiled))
        ),
        PeerComparison(
            what="quality on the test of MovieLens-1M", unit="NDCG@10", better="higher",
            peer=PUBLISHED,
            okml_value=statistics.median(reached), peer_value=PUBLISHED_NDCG,
            repeats=arguments.rounds,
        ),
    ]  # fmt: skip
    return write_benchmark(
        arguments.out,
        "SASRec on MovieLens-100K",
        "SASRec of 2 blocks, 2 heads and 64 dimensions on histories of 50 items, full softmax, "
        "leave-one-out on MovieLens-100K, seen items filtered. Seconds are those of the processor, "
        f"on one thread. The level is {SHARE_OF_BEST:.0%} of the best validation "
        f"NDCG@10 that RecTools reaches in {arguments.epochs} epochs, {ours['level']:.4f}; okml "
        "trains on all windows of a history and RecTools on its last one. RecBole, which trains "
        f"on one target a row, took {arguments.steps} steps of 2048 rows, not the whole training, "
        "and filters no seen items. By arithmetic, a target at every position costs "
        f"{ours['saved']:.0f} times less than a target a row; a larger ratio of training speed is "
        "the kernels' doing, and its limit is the arithmetic floor. Compiling takes "
        f"{compiled['compiling']:.0f} seconds, which are not in the time of a target; all other "
        "rows are of training as it is. Evaluation is of 943 users "
        "among 1682 items. Memory is that of a process, libraries included. The anchor to the "
        "literature is SASRec of 1 head on histories of 200 items of MovieLens-1M, its averaged "
        f"weights at the best validation of at most {arguments.anchor_epochs} epochs; seen items "
        f"are filtered. The seeds reach {', '.join(f'{value:.4f}' for value in reached)}.",
        comparisons,
        [
            check_quality("rectools", last["rectools"], folder, hide_seen=True),
            check_quality("recbole", last["recbole"], folder, hide_seen=False),
        ],
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--epochs", type=int, default=30, help="of RecTools")
    parser.add_argument("--okml-epochs", type=int, default=15)
    parser.add_argument("--steps", type=int, default=5, help="of RecBole that are timed")
    parser.add_argument("--anchor-epochs", type=int, default=40, help="at most, of the anchor")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = record(arguments, Path(folder))
    print(result)


if __name__ == "__main__":
    main()
