"""The training settings that all networks of the chapter share."""

from __future__ import annotations

from okml.training import TrainingSettings
from okml.video_workshop.settings import VideoWorkshopProfile


def training_settings(
    profile: VideoWorkshopProfile,
    *,
    batch: int,
    seed: int,
    steps: int | None = None,
    epochs: int | None = None,
    gradient_clip: float = 1.0,
    monitor: str | None = None,
    patience: int | None = None,
) -> TrainingSettings:
    """Return a training that ends after some steps or epochs and keeps its last checkpoint.

    A training that monitors a metric is evaluated each epoch, and keeps its best checkpoint too.

    Args:
        profile: Profile with the device and the precision.
        batch: Number of examples per step.
        seed: Random seed of the order of examples.
        steps: Largest number of gradient steps; None: no limit.
        epochs: Largest number of epochs; None: no limit.
        gradient_clip: Largest norm of the gradients.
        monitor: Metric that chooses the best weights; None: the last weights are used.
        patience: Epochs without a new best after which training ends; None: no limit.
    """
    return TrainingSettings(
        batch_size=batch,
        max_steps=steps,
        max_epochs=epochs,
        seed=seed,
        gradient_clip=gradient_clip,
        keep_checkpoints=1,
        evaluate_every=None if monitor is None else 1,
        monitor=monitor,
        patience=patience,
        device=profile.device,
        mixed_precision=profile.mixed_precision,
        compile=profile.compile,
    )
