"""The trainings of the chapter: on windows, and the two stages with one target for each row."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import polars as pl
import torch
from torch import nn

from okml.accelerator import forked_rng
from okml.kept import distinct
from okml.paths import atomic_write
from okml.seqrec.batches import CausalBatches, LastTargetBatches
from okml.seqrec.convergence import MONITOR, last_slope, validations
from okml.seqrec.encoder import Encoder
from okml.seqrec.losses import build_loss, build_sampler
from okml.seqrec.models import BERT4Rec, ClozeBatches
from okml.seqrec.popularity import item_counts
from okml.seqrec.tasks import (
    Evaluation,
    EveryPosition,
    LastTarget,
    Objective,
    OptimizerSettings,
    build_optimizer,
    objective_task,
    validation,
)
from okml.strec.arms import Job, trained_by
from okml.strec.data import SplitLog
from okml.strec.model import Stage, STRec
from okml.strec.prefixes import AfterPrefix, PrefixBackbone, PrefixBatches
from okml.strec.references import REFERENCES
from okml.strec.settings import Recipe, StrecProfile, WindowSettings
from okml.training import BatchSource, History, TrainingSettings, TrainingTask, fit
from okml.training.ema import evaluating

SPENT = "seconds spent"  # the column of a history
START = "start.json"  # the file of what a start validated with
AVERAGED = "ema/"  # prefix of the metrics of averaged weights


@dataclass
class TrainedEncoder:
    """An encoder after its training.

    Attributes:
        encoder: The encoder with the weights of the last step, or of the best validation, which
            may be that before the first step.
        history: The history of each of its trainings but the warm start.
        targets: The number of predicted targets over all epochs.
        rate: The learning rate.
        warm_share: The share of its weights that the warm start initialized.
    """

    encoder: Encoder
    history: tuple[History, ...]
    targets: int
    rate: float
    warm_share: float = 0.0

    @property
    def seconds(self) -> float:
        """The seconds of all its trainings, validation included; of the processor on a CPU."""
        return sum(map(_seconds, self.history))

    @property
    def validation(self) -> float:
        """NDCG@10 on the validation rows with the weights that the training returned."""
        best = self.history[-1].best_value
        return float(validations(self.history[-1])[1][-1]) if best is None else best

    @property
    def start_kept(self) -> bool:
        """Whether no validation was ahead of that before the first step."""
        return self.history[-1].best_step == 0

    @property
    def slope(self) -> float | None:
        """The rise of validation over the last tenth of its last training; None without a curve."""
        return last_slope(self.history[-1])


class EncoderTrainer:
    """Trains encoders; each training has a folder, from which a finished one is loaded.

    Args:
        profile: The settings of the run.
        folder: The folder of all trainings.
        device: The device on which batches are built.
    """

    def __init__(self, profile: StrecProfile, folder: Path, device: torch.device) -> None:
        self.profile = profile
        self.folder = folder
        self.device = device

    def windows(self, job: Job, data: SplitLog, encoder: Encoder) -> TrainedEncoder:
        """Train an encoder on windows, with a target at every position, or after a prefix.

        Args:
            job: The training: a warm start, a causal SASRec or a recommender of another paper.
            data: The data set.
            encoder: The encoder with its initial weights.
        """
        stated, rate, name = trained_by(self.profile, job), chosen_rate(job), job.arm.name
        assert isinstance(stated, WindowSettings)
        settings = self._settings(job, stated.epochs)
        published = REFERENCES[name].loss if name in REFERENCES else None
        loss = published or job.recipe.loss
        counts = item_counts(data.interactions, data.split.train_end)
        options: dict[str, Any] = {
            "jitter": True,
            "negatives": build_sampler(loss, counts),
            "device": self.device,
        }
        length = data.settings.length
        objective = EveryPosition(encoder, build_loss(loss, counts))
        targets = float((data.split.train_end - data.interactions.offsets[:-1] - 1).clip(0).sum())
        source: CausalBatches | ClozeBatches
        if isinstance(encoder, BERT4Rec):
            windows = data.split.training_windows(data.interactions, length - 1)
            source = ClozeBatches(data.interactions, windows, encoder.mask, **options)
        else:
            windows = data.split.training_windows(data.interactions, length)
            options["padding_side"] = encoder.padding_side
            source = CausalBatches(data.interactions, windows, **options)
        if isinstance(encoder, PrefixBackbone):
            objective = AfterPrefix(encoder, objective.loss)
            source = PrefixBatches(data.interactions, windows, **options)
            targets = source.expected_targets()
        optimizer = build_optimizer(objective, OptimizerSettings(learning_rate=rate))
        folder, warmup_steps = self._folder(job), stated.warmup_steps
        history = self._fit(
            data, objective, optimizer, source, length, settings, folder, warmup_steps
        )
        if history.averaged:
            (average,) = history.averaged.values()
            objective.load_state_dict(average.state_dict())
            history = replace(history, frame=averages_curve(history.frame))
        epochs = history.steps * settings.batch_size / len(source)
        return TrainedEncoder(encoder, (history,), round(epochs * targets), rate)

    def stages(self, job: Job, data: SplitLog, encoder: Encoder) -> TrainedEncoder:
        """Train on rows with one target, in two stages if the arm learns a sample.

        Validation drops items, as the test does, whatever stage is trained. A stage 2 whose
        validations are all behind that of its start returns the start; stage 1 has a set number of
        epochs and no such choice, since it trains the sampler.

        Args:
            job: The training, whose :attr:`Job.stages` are the numbers of epochs.
            data: The data set.
            encoder: The encoder with its initial weights.
        """
        recipe, (relaxed, hard), rate = job.recipe, job.stages, chosen_rate(job)
        length, folder = job.arm.length or data.settings.length, self._folder(job)
        source = LastTargetBatches(data.interactions, data.train, length, device=self.device)
        loss = build_loss(recipe.loss, item_counts(data.interactions, data.split.train_end))
        second: Stage = "relaxed" if job.stays_soft else "hard"
        parts: list[tuple[Stage, int, Path]] = [
            ("relaxed", relaxed, folder / f"relaxed{relaxed}"),
            (second, hard, folder / f"after_relaxed{relaxed}" / f"{second}{hard}"),
        ]
        history = []
        for number, (stage, epochs, place) in enumerate(parts, 1):
            if not epochs:
                continue
            if isinstance(encoder, STRec):
                encoder.stage = stage
                # In stage 2 only the indices depend on the scores: the sampler gets no gradient.
                encoder.sampler.requires_grad_(stage == "relaxed")
            objective, optimizer = LastTarget(encoder, loss), stage_optimizer(encoder, recipe, rate)
            settings = self._settings(job, epochs, stops=number == 2)
            history.append(
                self._fit(
                    data, objective, optimizer, source, length, settings, place,
                    recipe.warmup_steps, keeps_start=settings.monitor is not None,
                )
            )  # fmt: skip
        steps = sum(part.steps for part in history)
        targets = min(steps * recipe.batch, (relaxed + hard) * len(source))
        return TrainedEncoder(encoder, tuple(history), targets, rate)

    def _fit(
        self,
        data: SplitLog,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        source: BatchSource,
        length: int,
        settings: TrainingSettings,
        folder: Path,
        warmup_steps: int,
        *,
        keeps_start: bool = False,
    ) -> History:
        rows = LastTargetBatches(
            data.interactions, data.valid, length,
            padding_side=objective.encoder.padding_side, device=self.device,
        )  # fmt: skip
        ranking = validation(rows, batch_size=self.profile.evaluation_batch)
        evaluate = self._timed(dropping(ranking))
        task = objective_task(objective, optimizer, evaluate, warmup_steps)
        if not keeps_start:
            return fit(task, source, settings, folder)
        start = copy.deepcopy(objective.state_dict())
        before = self._before(task, objective, evaluate, folder / START)
        history = fit(task, source, settings, folder)
        if history.best_value is None or history.best_value > before:
            return history
        objective.load_state_dict(start)
        return replace(history, best_step=0, best_value=before)

    def _before(
        self, task: TrainingTask, objective: Objective, evaluate: Evaluation, kept: Path
    ) -> float:
        """Return NDCG@10 on the validation rows before the first step, kept beside the training."""
        if kept.exists():
            return float(json.loads(kept.read_text("utf-8")))
        bf16 = self.profile.mixed_precision == "bf16"
        with (
            evaluating(task), forked_rng(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=bf16),
        ):  # fmt: skip
            torch.manual_seed(self.profile.seeds[0])
            found = evaluate(objective)[MONITOR]
        with atomic_write(kept) as file:
            file.write(json.dumps(found))
        return found

    def _timed(self, evaluate: Evaluation) -> Evaluation:
        """Add the seconds since now to an evaluation: of the processor, where it computes."""
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        started = clock()
        return lambda model: {**evaluate(model), SPENT: clock() - started}

    def _settings(self, job: Job, epochs: int, *, stops: bool = True) -> TrainingSettings:
        """Return the settings of a training, or of a stage of it."""
        profile, stated = self.profile, trained_by(self.profile, job)
        decay = stated.ema_decay if isinstance(stated, WindowSettings) else None
        early: dict[str, Any] = {"evaluate_every": stated.evaluate_every}
        if stops and stated.evaluate_every is not None:
            monitor = MONITOR if decay is None else f"{AVERAGED}{MONITOR}"
            early |= {"monitor": monitor, "patience": stated.patience}
        return TrainingSettings(
            batch_size=stated.batch,
            max_epochs=epochs,
            seed=job.seed,
            device=profile.device,
            mixed_precision=profile.mixed_precision,
            compile=profile.compile,
            keep_checkpoints=1,
            ema_decay=decay,
            **early,
        )

    def _folder(self, job: Job) -> Path:
        arm, tried = distinct(job.arm.name, job.arm), f"rate {chosen_rate(job):g}"
        parts = (job.data.log, job.data.tie_rule, job.recipe.name, arm, tried, f"seed {job.seed}")
        return self.folder.joinpath(*(re.sub(r"[^\w-]+", "_", part) for part in parts))


def dropping(evaluate: Evaluation) -> Evaluation:
    """Let an evaluation read STRec in its hard stage, in which items are dropped."""

    def evaluate_hard(model: nn.Module) -> Mapping[str, float]:
        encoder = cast(Objective, model).encoder
        if not isinstance(encoder, STRec):
            return evaluate(model)
        stage, encoder.stage = encoder.stage, "hard"
        found = evaluate(model)
        encoder.stage = stage
        return found

    return evaluate_hard


def averages_curve(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a history in which the metrics of averaged weights replace those of the weights."""
    averaged = [name for name in frame.columns if name.startswith(AVERAGED)]
    replaced = [name.removeprefix(AVERAGED) for name in averaged]
    return frame.drop(replaced).rename(dict(zip(averaged, replaced, strict=True)))


def chosen_rate(job: Job) -> float:
    """Return the learning rate of a job for which it is chosen."""
    assert job.rate is not None  # Study.train chooses it
    return job.rate


def _seconds(history: History) -> float:
    """Return the seconds of a training; the count starts anew where it was resumed."""
    counted = history.frame[SPENT].drop_nulls()
    ends = counted > counted.shift(-1, fill_value=0.0)
    return float(counted.filter(ends).sum())


def stage_optimizer(encoder: nn.Module, recipe: Recipe, rate: float) -> torch.optim.Optimizer:
    """Return Adam with learning rate ``rate``, and the recipe's for the sampler."""
    sampler: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            (sampler if name.startswith("sampler.") else others).append(parameter)
    groups: list[dict[str, Any]] = [{"params": others, "lr": rate}]
    if sampler:
        groups.append({"params": sampler, "lr": recipe.sampler_learning_rate or rate})
    return torch.optim.Adam(groups, fused=True)
