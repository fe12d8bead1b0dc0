"""Training of a ranker on a log, and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from okml.seqrec.tasks import OptimizerSettings, build_optimizer
from okml.training import SupervisedTask, TrainingSettings, fit
from okml.video_workshop.rankers.loss import multitask_loss
from okml.video_workshop.rankers.models import Ranker
from okml.video_workshop.rankers.settings import RankerSettings
from okml.video_workshop.rankers.value import ValueModel
from okml.video_workshop.requests import RequestBatch, RequestBatches
from okml.video_workshop.simulator.policies import by_table
from okml.video_workshop.simulator.rollout import Score, Situation
from okml.video_workshop.simulator.world import Floats, Ints

# The probability of a click, then of responses to clicked items; hate needs no click. The single
# task `watched` is watching an impression, clicked or not.
TASKS = ("click", "watch", "like", "hate")
PAIRS_AT_A_TIME = 2**16


def labels_of(batch: RequestBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the labels of each task and the mask of its impressions, ``[b, k]`` each."""
    responses = {task: batch.response(task) for task in TASKS}
    clicked = responses["click"] > 0
    everywhere = torch.ones_like(clicked)
    labels = responses | {"watched": responses["watch"]}
    spaces = {"click": everywhere, "watch": clicked, "like": clicked, "hate": everywhere,
              "watched": everywhere}  # fmt: skip
    return labels, spaces


def train_ranker(
    ranker: Ranker,
    source: RequestBatches,
    settings: RankerSettings,
    training: TrainingSettings,
    folder: Path | None,
) -> Ranker:
    """Train a ranker in place and return it in evaluation mode.

    Args:
        ranker: Ranker to train, whose outputs determine the tasks.
        source: Batches of the log.
        settings: Settings of the learning rate and the weight decay.
        training: Length, batch size and device of the training.
        folder: Folder of the training; None: nothing is written.
    """

    def loss(model: nn.Module, batch: RequestBatch) -> Mapping[str, Tensor]:
        labels, spaces = labels_of(batch)
        return multitask_loss(model(batch.users, batch.items, batch.recent), labels, spaces)

    optimizer = build_optimizer(
        ranker,
        OptimizerSettings(learning_rate=settings.learning_rate, weight_decay=settings.weight_decay),
    )
    fit(SupervisedTask(ranker, loss, optimizer), source, training, folder)
    return ranker.eval()


@torch.inference_mode()
def answers(ranker: Ranker, users: Ints, items: Ints, recent: Ints) -> dict[str, Floats]:
    """Return the probabilities of each task, ``[n, k]``; the simulator counts items from 0.

    Args:
        ranker: Ranker in evaluation mode.
        users: User numbers, ``[n]``.
        items: Item numbers, ``[n, k]``.
        recent: Last clicked items, ``[n, t]``.
    """
    device = ranker.content.device
    step = max(1, PAIRS_AT_A_TIME // items.shape[1])
    parts: dict[str, list[Floats]] = {}
    for start in range(0, len(users), step):
        rows = slice(start, start + step)
        given = (torch.from_numpy(part[rows].astype(np.int64)).to(device)
                 for part in (users, items + 1, recent + 1))  # fmt: skip
        for task, logit in ranker(*given).items():
            parts.setdefault(task, []).append(logit.float().sigmoid().cpu().numpy())
    return {task: np.concatenate(found) for task, found in parts.items()}


def pair_tables(ranker: Ranker) -> dict[str, Floats]:
    """Return the probabilities of each task for all users and items, ``[u, i]``."""
    users, items = ranker.user.num_embeddings, ranker.item.num_embeddings - 1
    every = np.broadcast_to(np.arange(items), (users, items))
    return answers(ranker, np.arange(users), every, np.zeros((users, 0), dtype=np.int64))


class Answers:
    """The predictions of a trained ranker, cached as tables if it reads no clicks.

    Args:
        ranker: Ranker in evaluation mode.
    """

    def __init__(self, ranker: Ranker) -> None:
        self.ranker = ranker
        self.tables = None if ranker.reads_clicks else pair_tables(ranker)

    def __call__(self, users: Ints, items: Ints, recent: Ints) -> dict[str, Floats]:
        """Return the probabilities of each task, ``[n, k]``; see :func:`answers`."""
        if self.tables is None:
            return answers(self.ranker, users, items, recent)
        return {task: table[users[:, None], items] for task, table in self.tables.items()}

    def click(self, users: Ints, items: Ints, recent: Ints) -> Floats:
        """Return the click probabilities, ``[n, k]``."""
        return self(users, items, recent)["click"]

    def score(self, value: ValueModel) -> Score:
        """Return the value model's score of candidates."""
        if self.tables is not None:
            return by_table(value(self.tables))

        def score(situation: Situation) -> Floats:
            found: Floats = value(self(situation.users, situation.candidates, situation.recent))
            return found

        return score


Click = Callable[[Ints, Ints, Ints], Floats]  # users, items, recent: click probability, [n, k]
