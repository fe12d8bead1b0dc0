"""The training of an arm in a folder, from which a finished one is loaded."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from okml.kept import distinct
from okml.offline_rl.arms import Arm
from okml.offline_rl.critic import Critics
from okml.offline_rl.crr import CRRTask
from okml.offline_rl.data import Prepared
from okml.offline_rl.episodes import TransitionBatches
from okml.offline_rl.networks import build_critics, build_encoder
from okml.offline_rl.objectives import NextFew, ReturnConditioned
from okml.offline_rl.settings import OfflineRLProfile, Training
from okml.offline_rl.sqn import SQNTask, TwoHeads
from okml.offline_rl.weighted import (
    Rule,
    TopKReinforce,
    WeightedTask,
    by_reward,
    clone_all,
    wanted_only,
)
from okml.runtime import seed_everything
from okml.seqrec.batches import CausalBatches, LastTargetBatches
from okml.seqrec.encoder import Encoder
from okml.seqrec.losses import build_loss, build_sampler
from okml.seqrec.metrics import mean_metrics
from okml.seqrec.popularity import item_counts
from okml.seqrec.ranking import rank_rows
from okml.seqrec.scorers import encoder_scorer
from okml.seqrec.tasks import (
    EveryPosition,
    OptimizerSettings,
    build_optimizer,
    warmup,
)
from okml.training import History, SupervisedTask, TrainingSettings, TrainingTask, fit, load_weights
from okml.training.batches import BatchSource

MONITOR = "ndcg@10"
CUTOFFS = (5, 10, 20)
ENCODER = "encoder."  # prefix of the encoder's weights in an objective
K, IMPORTANCE_CAP = 10, 10.0  # length of the list and weight cap of top-K REINFORCE


@dataclass
class Trained:
    """A recommender after its training.

    Attributes:
        encoder: The recommender with the weights of the best validation.
        last: The recommender with the weights of the last step.
        critics: The critics of the last step; None for methods without critics.
        history: The history of the training, without stage 1 before it.
    """

    encoder: Encoder
    last: Encoder
    critics: Critics | None
    history: History

    @property
    def seconds(self) -> float:
        """The seconds of the training."""
        return float(self.history.frame["seconds"][-1])


class Trainer:
    """Trains arms on one device.

    Args:
        profile: The settings of the run.
        folder: The folder of all trainings.
        device: The device on which batches are built.
    """

    def __init__(self, profile: OfflineRLProfile, folder: Path, device: torch.device) -> None:
        self.profile = profile
        self.folder = folder
        self.device = device

    def train(
        self, data: Prepared, arm: Arm, seed: int, start: Encoder | None, factor: float = 1.0
    ) -> Trained:
        """Train an arm, or load a finished training.

        Args:
            data: The data set.
            arm: The arm to train.
            seed: The seed of weights, order and dropout.
            start: The pre-trained transformer, for arms that start from it; it is not changed.
            factor: The factor of all learning rates.
        """
        seed_everything(seed)
        schedule = self._schedule(data, arm, factor)
        encoder = build_encoder(data, arm, start).to(self.device)
        source = self._source(data, arm, encoder)
        steps = -(-len(source) // schedule.batch)
        settings, folder = (
            self._settings(schedule, steps, seed),
            self._folder(data, arm, seed, factor),
        )
        critics = None
        if arm.method == "crr":
            critics, spread = self._critics(data, arm, encoder, schedule, source, settings, folder)
            task: TrainingTask = self.crr_task(
                data, arm, encoder, critics, schedule, spread=spread,
                evaluate=self.validation(data, encoder),
            )  # fmt: skip
        else:
            task = self._task(data, arm, encoder, start, schedule, steps)
        history = fit(task, source, settings, folder)
        weights = load_weights(folder, "last")
        last = _with_weights(encoder, weights["model" if "model" in weights else "actor"])
        if critics is not None:
            critics.load_state_dict(weights["critic"])
            critics.eval()
        return Trained(encoder.eval(), last, critics, history)

    def _schedule(self, data: Prepared, arm: Arm, factor: float) -> Training:
        """Return the epochs and learning rates of an arm."""
        settings = data.settings
        if arm.model in ("sasrec", "caser"):
            chosen = settings.baseline
        else:
            chosen = settings.stage1 if arm.method == "next_item" else settings.stage2
        epochs = chosen.epochs
        if arm.method != "next_item" and arm.start == "scratch":
            epochs = settings.stage1.epochs + settings.stage2.epochs
            # Training from scratch uses the larger learning rate of stage 1.
            chosen = chosen.model_copy(update={"learning_rate": settings.stage1.learning_rate})
        if arm.epochs is not None:
            epochs = arm.epochs
        return chosen.model_copy(
            update={
                "epochs": epochs,
                "learning_rate": factor * chosen.learning_rate,
                "critic_learning_rate": factor * chosen.critic_learning_rate,
            }
        )

    def _source(self, data: Prepared, arm: Arm, encoder: Encoder) -> BatchSource:
        if arm.model in ("sasrec", "caser"):
            assert arm.loss is not None
            counts = item_counts(data.interactions, data.split.train_end)
            # The original SASRec never draws items of the user's history.
            negatives = build_sampler(arm.loss, counts, data.interactions, data.split.train_end)
            return CausalBatches(
                data.interactions, data.windows(), padding_side=encoder.padding_side, jitter=True,
                negatives=negatives, device=self.device,
            )  # fmt: skip
        return TransitionBatches(data.episodes, data.windows(), device=self.device)

    def _critics(
        self,
        data: Prepared,
        arm: Arm,
        encoder: Encoder,
        schedule: Training,
        source: BatchSource,
        settings: TrainingSettings,
        folder: Path,
    ) -> tuple[Critics, float]:
        """Return critics for the actor, and the variance of the advantage under them.

        A pre-trained actor is frozen during their warm-up, which is a separate training, so that
        the best validation is chosen among trained actors, and CRR and its controls take the same
        number of updates.
        """
        critics = build_critics(data).to(self.device)
        epochs = schedule.critic_warmup_epochs
        if arm.start == "scratch" or not epochs:
            return critics, 0.0
        task = self.crr_task(data, arm, encoder, critics, schedule, critics_only=True)
        changes = {"max_epochs": epochs, "evaluate_every": None, "monitor": None}
        fit(task, source, settings.model_copy(update=changes), folder / "critic warm-up")
        return critics, task.spread

    def crr_task(
        self,
        data: Prepared,
        arm: Arm,
        encoder: Encoder,
        critics: Critics,
        schedule: Training,
        **options: Any,
    ) -> CRRTask:
        """Return what the loop trains: actor and critics with optimizers of their own.

        Args:
            data: Its rewards bound Q.
            arm: The variant of CRR.
            encoder: The actor.
            critics: The Q-functions.
            schedule: The learning rates.
            options: Further arguments of :class:`CRRTask`.
        """
        assert arm.crr is not None
        optimizers = {
            "actor": _adam(encoder, schedule.learning_rate, schedule.weight_decay),
            "critic": _adam(critics, schedule.critic_learning_rate, 0.0),
        }
        return CRRTask(
            encoder, critics, optimizers, arm.crr,
            rewards=data.reward_range, wanted=data.wanted,
            chunk_bytes=self.profile.chunk_bytes, **options,
        )  # fmt: skip

    def _task(
        self,
        data: Prepared,
        arm: Arm,
        encoder: Encoder,
        start: Encoder | None,
        schedule: Training,
        steps: int,
    ) -> TrainingTask:
        """Return the training task of an arm without separate critics.

        ``steps`` is the number of steps in an epoch.
        """
        evaluate = self.validation(data, encoder)
        chunk = self.profile.chunk_bytes
        if arm.method in ("sqn", "sac"):
            assert arm.crr is not None
            heads = TwoHeads(encoder, chunk).to(self.device)
            # SAC equals SQN in the first half, until its Q head is trained.
            half = schedule.epochs * steps // 2 if arm.method == "sac" else None
            optimizer = _adam(heads, schedule.learning_rate, schedule.weight_decay)
            return SQNTask(heads, optimizer, arm.crr, weighted_from=half, evaluate=evaluate)
        optimizer = _adam(encoder, schedule.learning_rate, schedule.weight_decay)
        if arm.method in ("clone", "reinforce"):
            rule = self._rule(data, arm, start)
            return WeightedTask(encoder, optimizer, rule, chunk_bytes=chunk, evaluate=evaluate)
        assert arm.loss is not None
        counts = item_counts(data.interactions, data.split.train_end)
        loss = build_loss(arm.loss, counts)
        if arm.method == "return_conditioned":
            objective: nn.Module = ReturnConditioned(encoder, loss)
        elif arm.name == "caser_bce":
            objective = NextFew(encoder, loss)
        else:
            objective = EveryPosition(encoder, loss)
        return SupervisedTask(
            objective, lambda model, batch: model(batch), optimizer,
            scheduler=warmup(optimizer, schedule.warmup_steps), evaluate=evaluate,
        )  # fmt: skip

    def _rule(self, data: Prepared, arm: Arm, start: Encoder | None) -> Rule:
        if arm.method == "reinforce":
            assert start is not None
            scale = float(np.abs(data.training_returns()).mean())
            behavior = copy.deepcopy(start)
            return TopKReinforce(behavior, K, IMPORTANCE_CAP, scale, self.profile.chunk_bytes)
        match arm.weights:
            case "equal":
                return clone_all
            case "reward":
                return by_reward
            case "wanted":
                return wanted_only(data.wanted)

    def validation(self, data: Prepared, encoder: Encoder) -> Any:
        """Return an evaluation by the ranks of validation rows among all items."""
        rows = LastTargetBatches(
            data.interactions, data.valid, data.settings.length,
            padding_side=encoder.padding_side, device=self.device,
        )  # fmt: skip

        def evaluate(model: nn.Module) -> Mapping[str, float]:
            ranks = rank_rows(
                encoder_scorer(model.encoder),  # type: ignore[arg-type]
                rows, hide_seen=data.settings.hide_seen, batch_size=self.profile.evaluation_batch,
            )  # fmt: skip
            return mean_metrics(ranks, CUTOFFS)

        return evaluate

    def _settings(self, schedule: Training, steps: int, seed: int) -> TrainingSettings:
        """Return the training settings, with validations at equal intervals of an epoch."""
        profile = self.profile
        every = max(1, steps // profile.curve_evaluations)
        return TrainingSettings(
            batch_size=schedule.batch,
            max_epochs=schedule.epochs,
            seed=seed,
            gradient_clip=schedule.gradient_clip,
            evaluate_every=every,
            evaluate_unit="step",
            monitor=MONITOR,
            keep_checkpoints=1,
            device=profile.device,
            mixed_precision=profile.mixed_precision,
            compile=profile.compile,
        )

    def _folder(self, data: Prepared, arm: Arm, seed: int, factor: float) -> Path:
        parts = [distinct(data.name, data.settings), distinct(arm.name, arm), f"seed {seed}"]
        if factor != 1:
            parts.append(f"rate {factor:g}")
        return self.folder.joinpath(*(re.sub(r"[^\w.-]+", "_", part) for part in parts))


def _adam(module: nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    return build_optimizer(module, OptimizerSettings(learning_rate=rate, weight_decay=decay))


def _with_weights(encoder: Encoder, weights: dict[str, Tensor]) -> Encoder:
    """Return a copy of the encoder with its weights in an objective's checkpoint."""
    inner = {
        name.removeprefix(ENCODER): value
        for name, value in weights.items()
        if name.startswith(ENCODER)
    }
    other = copy.deepcopy(encoder)
    other.load_state_dict(inner)
    return other.eval()
