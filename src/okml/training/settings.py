"""The settings of a training run; the task defines what it trains."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from okml.settings import Count, DeviceName, Fraction, Positive, Settings, Text, Whole

Precision = Literal["no", "bf16"]  # no: float32; bf16: matrix products in bfloat16


class TrainingSettings(Settings):
    """The settings of one training run.

    A run ends at whichever comes first: ``max_steps``, ``max_epochs``, ``max_seconds`` or early
    stopping. A *step* is one global batch: ``batch_size`` examples over all processes.
    """

    # Settings that may differ between a checkpoint and the run that resumes from it: they do not
    # change what a step computes.
    FREE_TO_CHANGE: ClassVar[frozenset[str]] = frozenset(
        {
            "max_steps",
            "max_epochs",
            "max_seconds",
            "checkpoint_every",
            "checkpoint_minutes",
            "keep_checkpoints",
            "log_every",
            "workers",
            "tensorboard",
        }
    )

    batch_size: Count  # examples a step, over all processes and micro-batches
    max_steps: Count | None = None
    max_epochs: Count | None = None
    max_seconds: Positive | None = None  # the time that training may take, across resumptions
    shuffle: Literal["epoch", "replacement", "none"] = "epoch"  # see okml.training.batches
    seed: Whole = 0

    gradient_clip: Positive | None = None  # largest L2 norm of the gradients
    gradient_accumulation: Count = 1  # micro-batches a step on each process
    ema_decay: Fraction | None = None
    mixed_precision: Precision = "no"
    compile: bool = False  # torch.compile
    device: DeviceName = "auto"

    evaluate_every: Count | None = None  # a number of evaluate_unit; None: only at the end
    evaluate_unit: Literal["step", "epoch"] = "epoch"
    monitor: Text | None = None  # the metric that chooses the best checkpoint
    mode: Literal["max", "min"] = "max"  # the better values of the monitored metric
    patience: Count | None = None  # stop at this many evaluations in a row without a new best

    checkpoint_every: Count | None = None  # steps; None: at a new best and at the end
    checkpoint_minutes: Positive = 15  # and when the last one is older than this
    keep_checkpoints: Count = 2  # number of the newest ones; the best is kept as well
    log_every: Count = 10  # steps between rows of metrics.jsonl
    workers: Whole = 0  # processes that build batches ahead of time
    tensorboard: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_steps is None and self.max_epochs is None and self.max_seconds is None:
            raise ValueError("set at least one of max_steps, max_epochs and max_seconds")
        if self.patience is not None and self.monitor is None:
            raise ValueError("patience needs a metric to monitor")
        if self.patience is not None and self.evaluate_every is None:
            raise ValueError("patience needs evaluate_every")
        return self

    def binding(self) -> dict[str, Any]:
        """Return the settings that a resumed run must share with its checkpoint (JSON values)."""
        return self.model_dump(mode="json", exclude=set(self.FREE_TO_CHANGE))
