"""How a network of the chapter is trained, whatever it is."""

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

    One that monitors a metric is evaluated each epoch, and keeps its best checkpoint too.

    Args:
        profile: Says where and in what precision.
        batch: Examples a step.
        seed: Of the order of examples.
        steps: Most gradient steps; None: any number.
        epochs: Most epochs; None: any number.
        gradient_clip: Largest norm of the gradients.
        monitor: The metric that the best weights are chosen by; None: the last ones are taken.
        patience: Epochs without a new best that end the training; None: any number.
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
