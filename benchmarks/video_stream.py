"""An update of a recommender on one week beside training it again on everything, in one run.

Both contestants end with a model that has seen the same weeks of MovieLens-100K: one starts from
the model of the weeks before and trains on the newest week alone, the other starts from scratch
and trains on all of them. They take turns and medians count. A fast update of a bad model would be
no result: nothing is recorded unless the updated model finds, in the weeks that follow, about as
many of the next films as the retrained one.

    python benchmarks/video_stream.py --out video_stream.json
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import numpy as np
import torch

from okml.benchmark import (
    BenchmarkRecord,
    Check,
    Quantity,
    compare,
    in_turns,
    parser_of,
    write_benchmark,
)
from okml.seqrec.metrics import hit
from okml.video_workshop.common.data import load_watched
from okml.video_workshop.common.table import IdTable
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.config import PROFILES
from okml.video_workshop.stream.prequential import judge
from okml.video_workshop.stream.served import ServedStream, weekly_stream
from okml.video_workshop.stream.strategies import FullRetrain, Incremental, train_base
from okml.video_workshop.stream.trainer import Effort, StreamTrainer

RETRAINED = "training again on all weeks"
TOLERANCE = 0.15  # of HR@10: how far the updated model may be below the retrained one
CPU = torch.device("cpu")
QUANTITIES = (
    Quantity("seconds", "until the model has learned a new week", "s"),
    Quantity("samples", "targets trained on", ""),
)


def problem(week: int) -> tuple[ServedStream, StreamTrainer, UserModel]:
    """Return the stream, what trains on it, and the model of the weeks before ``week``."""
    profile = PROFILES["cpu"]
    weekly = profile.stream.weekly
    world = weekly_stream(load_watched(profile.data).interactions, weekly)
    items, model = world.stream.interactions.item_count, weekly.training.model

    def build() -> UserModel:
        return UserModel(IdTable(items, model.width), model)

    profile = profile.model_copy(update={"device": "cpu"})
    trainer = StreamTrainer(profile, world.stream, weekly.training, build, 0, CPU, update_rate=0.5)
    return world, trainer, train_base(trainer, week)[0]


def hits(world: ServedStream, trainer: StreamTrainer, model: UserModel, week: int) -> float:
    """Return HR@10 in the weeks from ``week`` on."""
    found = []
    for period in range(week, world.stream.count):
        rows = world.rows.take(world.drawn & (world.period == period))
        length = trainer.settings.model.length
        found.append(hit(judge(model.eval(), world.stream, rows, length), 10))
    return float(np.concatenate(found).mean())


def record(arguments: argparse.Namespace) -> BenchmarkRecord:
    torch.set_num_threads(arguments.threads)
    week = arguments.week
    world, trainer, base = problem(week)
    contestants: dict[str, Callable[[], tuple[UserModel, Effort]]] = {
        "okml": lambda: Incremental().update(trainer, copy.deepcopy(base), week),
        RETRAINED: lambda: FullRetrain(1, week).update(trainer, base, week),
    }
    figures, learned = in_turns(contestants, arguments.repeats)
    quality = {}
    for name, (model, effort) in learned.items():
        figures[name]["samples"] = effort.samples
        quality[name] = hits(world, trainer, model, week + 1)
    ours = figures.pop("okml")
    check = Check(
        what="HR@10 of the weeks that follow, retrained less updated",
        difference=max(quality[RETRAINED] - quality["okml"], 0.0) / quality[RETRAINED],
        tolerance=TOLERANCE,
    )
    return write_benchmark(
        arguments.out,
        "Keeping a recommender fresh",
        f"Week {week} of MovieLens-100K with simulated launches, learned by a causal transformer "
        f"of width {trainer.settings.model.width}: {trainer.settings.update_epochs} epochs on the "
        f"week from the model of the weeks before, or {trainer.settings.base_epochs} epochs on "
        f"everything from scratch; float32 on {arguments.threads} threads. HR@10 in the weeks "
        "that follow: "
        f"{quality['okml']:.4f} updated, {quality[RETRAINED]:.4f} retrained.",
        list(compare(ours, figures, QUANTITIES, arguments.repeats)),
        [check],
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--week", type=int, default=24, help="the one that is learned")
    print(record(parser.parse_args()))


if __name__ == "__main__":
    main()
