"""The training of an arm: its network, batches, task and schedule."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from okml.offline_rl.arms import Arm
from okml.offline_rl.critic import Critics
from okml.offline_rl.crr import CRRTask
from okml.offline_rl.data import MDPDataset
from okml.offline_rl.decision import ReturnConditioned
from okml.offline_rl.episodes import TransitionBatches
from okml.offline_rl.networks import NextFew, build_critics, build_encoder
from okml.offline_rl.settings import CRRSettings, LogSettings, OfflineRLProfile, StageSettings
from okml.offline_rl.sqn import SQNTask, TwoHeads
from okml.offline_rl.weighted import (
    Rule,
    TopKReinforce,
    WeightedTask,
    by_reward,
    clone_all,
    right_in_shop,
    wanted_only,
)
from okml.runtime import seed_everything
from okml.seqrec.batches import CausalBatches
from okml.seqrec.convergence import MONITOR
from okml.seqrec.encoder import Encoder
from okml.seqrec.losses import (
    AnyLoss,
    BinarySettings,
    ChunkedSoftmaxSettings,
    build_loss,
    build_sampler,
)
from okml.seqrec.metrics import mean_metrics
from okml.seqrec.popularity import item_counts
from okml.seqrec.ranking import rank_rows
from okml.seqrec.scorers import encoder_scorer
from okml.seqrec.tasks import (
    Evaluation,
    EveryPosition,
    Objective,
    OptimizerSettings,
    build_optimizer,
    objective_task,
)
from okml.training import History, TrainingSettings, TrainingTask, fit, load_weights
from okml.training.batches import BatchSource

CUTOFFS = (5, 10, 20)
GRADIENT_CLIP = 1.0
ENCODER = "encoder."  # prefix of the encoder's weights in an objective


@dataclass
class TrainedPolicy:
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


@dataclass
class TrainedCritics:
    """Critics after their fit; see :mod:`okml.offline_rl.fitting`.

    Attributes:
        critics: The critics with the least error of held-out returns.
        spread: The running variance of the actor's advantages; 0 if it is not known.
        rate: The learning rate of the fit.
        copies: The steps between copies to the target networks; None without these.
        error: The mean squared error of held-out returns.
        history: The history of the fit.
    """

    critics: Critics
    spread: float
    rate: float
    copies: int | None
    error: float
    history: History


@dataclass(frozen=True, eq=False)
class ArmTraining:
    """The training of one arm on one data set.

    Attributes:
        stage: The epochs and learning rates; see :func:`stage_of`.
        start: The pre-trained transformer, for arms that start from it; it is not changed.
        fitted: The critics that CRR starts from, which are not changed. CRR without stage 1 starts
            from new ones and takes rate and copies alone. None for other methods.
        device: The device on which batches are built.
    """

    profile: OfflineRLProfile
    data: MDPDataset
    arm: Arm
    stage: StageSettings
    start: Encoder | None
    fitted: TrainedCritics | None
    device: torch.device

    def run(self, seed: int, folder: Path) -> TrainedPolicy:
        """Train the arm, or load a finished training from the folder."""
        seed_everything(seed)
        encoder = build_encoder(self.data, self.arm, self.start).to(self.device)
        source = self._source(encoder)
        steps = -(-len(source) // self.stage.batch)
        evaluations = self.profile.curve_evaluations  # in an epoch, at equal intervals
        settings = training_settings(
            self.profile,
            batch_size=self.stage.batch,
            max_epochs=self.stage.epochs,
            seed=seed,
            evaluate_every=max(1, steps // evaluations),
            evaluate_unit="step",
            monitor=MONITOR,
            patience=None if self.arm.from_stage1 else self.profile.patience * evaluations,
        )
        critics = build_critics(self.data).to(self.device) if self.arm.method == "crr" else None
        task = self._task(encoder, steps) if critics is None else self._crr_task(encoder, critics)
        history = fit(task, source, settings, folder)
        weights = load_weights(folder, "last")
        policy = next(name for name in ("dealt", "model", "actor") if name in weights)
        own = {name: value for name, value in weights[policy].items() if name.startswith(ENCODER)}
        last = copy.deepcopy(encoder)
        last.load_state_dict({name.removeprefix(ENCODER): value for name, value in own.items()})
        if critics is not None:
            critics.load_state_dict(weights["critic"])
            critics.eval()
        return TrainedPolicy(encoder.eval(), last.eval(), critics, history)

    def _source(self, encoder: Encoder) -> BatchSource:
        data = self.data
        if self.arm.model == "transformer":
            return TransitionBatches(data.episodes, data.windows(), device=self.device)
        counts = item_counts(data.interactions, data.split.train_end)
        return CausalBatches(
            data.interactions,
            data.windows(),
            padding_side=encoder.padding_side,
            jitter=True,
            # The original SASRec never draws items of the user's history.
            negatives=build_sampler(self._loss(), counts, data.interactions, data.split.train_end),
            device=self.device,
        )

    def _loss(self) -> AnyLoss:
        if self.arm.loss == "binary":
            return BinarySettings()
        return ChunkedSoftmaxSettings(chunk_bytes=self.profile.chunk_bytes)

    def _crr_task(self, encoder: Encoder, critics: Critics) -> CRRTask:
        fitted = self.fitted
        assert fitted is not None
        settings = self.profile.variant({**self.arm.changes, "target_every": fitted.copies})
        spread = 0.0
        if self.arm.from_stage1:
            critics.load_state_dict(fitted.critics.state_dict())
            spread = fitted.spread
        return crr_task(
            self.data, settings, encoder, critics, self.stage, fitted.rate,
            chunk_bytes=self.profile.chunk_bytes, spread=spread,
            evaluate=self._validation(encoder),
        )  # fmt: skip

    def _task(self, encoder: Encoder, steps: int) -> TrainingTask:
        """Return the task of an arm without separate critics, with the steps of an epoch."""
        arm, data, stage = self.arm, self.data, self.stage
        evaluate, chunk = self._validation(encoder), self.profile.chunk_bytes
        if arm.method in ("sqn", "sac"):
            heads = TwoHeads(encoder, chunk).to(self.device)
            # SAC equals SQN in the first half, until its Q head is trained.
            half = stage.epochs * steps // 2 if arm.method == "sac" else None
            optimizer = adam(heads, stage.learning_rate, stage.weight_decay)
            return SQNTask(
                heads, optimizer, self.profile.crr, weighted_from=half, evaluate=evaluate
            )
        optimizer = adam(encoder, stage.learning_rate, stage.weight_decay)
        if arm.method == "reinforce":
            assert self.start is not None
            scale = float(np.abs(data.training_returns()).mean())
            rule = TopKReinforce(self.start, scale, chunk)
            return WeightedTask(encoder, optimizer, rule, chunk_bytes=chunk, evaluate=evaluate)
        if arm.method == "clone":
            return WeightedTask(
                encoder, optimizer, self._rule(), chunk_bytes=chunk, evaluate=evaluate
            )
        loss = build_loss(self._loss(), item_counts(data.interactions, data.split.train_end))
        kind: type[Objective] = EveryPosition
        if arm.method == "return_conditioned":
            kind = ReturnConditioned
        elif arm.name == "caser_bce":
            kind = NextFew
        return objective_task(kind(encoder, loss), optimizer, evaluate, stage.warmup_steps)

    def _rule(self) -> Rule:
        """Return how an arm that clones weighs logged actions."""
        match self.arm.weights:
            case "equal":
                return clone_all
            case "reward":
                return by_reward
            case "wanted":
                return wanted_only(self.data.wanted)
            case "right":
                return right_in_shop(self.data.interactions)

    def _validation(self, encoder: Encoder) -> Evaluation:
        """Return an evaluation by the ranks of validation rows among all items."""
        rows = self.data.histories(self.data.valid, self.device, encoder.padding_side)
        hide_seen, batch_size = self.data.settings.hide_seen, self.profile.evaluation_batch

        def evaluate(model: nn.Module) -> Mapping[str, float]:
            scorer = encoder_scorer(model.encoder)  # type: ignore[arg-type]
            ranks = rank_rows(scorer, rows, hide_seen=hide_seen, batch_size=batch_size)
            return mean_metrics(ranks, CUTOFFS)

        return evaluate


def training_settings(profile: OfflineRLProfile, **own: Any) -> TrainingSettings:
    """Return the settings of a training: its own, and those that all have."""
    return TrainingSettings(
        gradient_clip=GRADIENT_CLIP,
        keep_checkpoints=1,
        device=profile.device,
        mixed_precision=profile.mixed_precision,
        compile=profile.compile,
        **own,
    )


def stage_of(
    settings: LogSettings, arm: Arm, stage1_epochs: int | None, factor: float
) -> StageSettings:
    """Return the epochs of an arm and its learning rate, times a factor.

    The epochs of stage 1 count for the arm that is stage 1; None for the log's.
    """
    if arm.model != "transformer":
        stage = settings.baseline
    else:
        stage = settings.stage1 if arm.method == "next_item" else settings.stage2
    epochs, rate = stage.epochs, stage.learning_rate
    if arm.method == "crr" and not arm.from_stage1:
        epochs = settings.baseline.epochs
        rate = settings.stage1.learning_rate  # the larger one
    if stage1_epochs is not None and not arm.from_stage1:
        epochs = stage1_epochs
    return stage.model_copy(update={"epochs": epochs, "learning_rate": factor * rate})


def crr_task(
    data: MDPDataset,
    settings: CRRSettings,
    actor: Encoder,
    critics: Critics,
    stage: StageSettings,
    critic_rate: float,
    **options: Any,
) -> CRRTask:
    """Return what the loop trains: actor and critics with optimizers of their own.

    With dealt weights the actor is the second one, and a copy of it is CRR's own. The stage has the
    learning rate of actors, and ``options`` are further arguments of :class:`CRRTask`.
    """
    own, dealt = (copy.deepcopy(actor), actor) if settings.dealt else (actor, None)
    optimizers = {
        "actor": adam(own, stage.learning_rate, stage.weight_decay),
        "critic": adam(critics, critic_rate),
    }
    if dealt is not None:
        optimizers["dealt"] = adam(dealt, stage.learning_rate, stage.weight_decay)
    return CRRTask(
        own, critics, optimizers, settings,
        rewards=data.reward_range, wanted=data.wanted, dealt=dealt, **options,
    )  # fmt: skip


def adam(module: nn.Module, rate: float, decay: float = 0.0) -> torch.optim.Optimizer:
    """Return AdamW over the parameters of a module."""
    return build_optimizer(module, OptimizerSettings(learning_rate=rate, weight_decay=decay))
