"""How a training run is carried out; what it trains is the task's business."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator


class TrainingSettings(BaseModel):
    """The numbers of one training run.

    A run ends at whichever comes first: ``max_steps``, ``max_epochs``, ``max_seconds`` or early
    stopping. A *step* is one global batch: ``batch_size`` examples over all processes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # May differ between a checkpoint and the run that continues it: they change how long and how
    # a run goes on, not what a step does.
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

    batch_size: PositiveInt  # examples a step, over all processes and micro-batches
    max_steps: PositiveInt | None = None
    max_epochs: PositiveInt | None = None
    max_seconds: float | None = Field(default=None, gt=0)  # of training, across resumptions
    shuffle: Literal["epoch", "replacement", "none"] = "epoch"  # see okml.training.batches
    seed: int = Field(default=0, ge=0)

    gradient_clip: float | None = Field(default=None, gt=0)  # largest L2 norm of the gradients
    gradient_accumulation: PositiveInt = 1  # micro-batches a step on each process
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False  # torch.compile
    device: Literal["auto", "cpu", "cuda"] = "auto"

    evaluate_every: PositiveInt | None = None  # in evaluate_unit; None: only at the end
    evaluate_unit: Literal["step", "epoch"] = "epoch"
    monitor: str | None = None  # the metric that chooses the best checkpoint
    mode: Literal["max", "min"] = "max"  # of the monitored metric
    patience: PositiveInt | None = None  # stop at this many evaluations in a row without a new best

    checkpoint_every: PositiveInt | None = None  # steps; None: at a new best and at the end
    checkpoint_minutes: float = Field(default=15, gt=0)  # and when the last one is older than this
    keep_checkpoints: PositiveInt = 2  # the newest ones; the best is kept besides
    log_every: PositiveInt = 10  # steps between rows of metrics.jsonl
    workers: int = Field(default=0, ge=0)  # processes that build batches ahead of time
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
        """Return the settings a checkpoint insists on (JSON values)."""
        return self.model_dump(mode="json", exclude=set(self.FREE_TO_CHANGE))
