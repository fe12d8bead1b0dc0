"""The study of the chapter: images, and trainings with their courses."""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import polars as pl
import torch
from torch import nn

from okml.accelerator import pick_device, require_float64
from okml.kept import distinct, trainings_folder
from okml.periodic_behavior.arms import ARMS, Job
from okml.periodic_behavior.dynamics import LAYER, MEASURED, DynamicsTask
from okml.periodic_behavior.images import Images, load
from okml.periodic_behavior.networks import build, invariant_weights
from okml.periodic_behavior.settings import PeriodicBehaviorProfile, ProblemSettings
from okml.runtime import seed_everything
from okml.training import TensorBatches, TrainingSettings, fit
from okml.training.recent import recently_trained


class Trained(NamedTuple):
    """A trained network, and the course of its training, a row an epoch.

    Beside ``MEASURED`` a row has ``layers``, the list of the norms of all weight tensors.
    """

    network: nn.Module
    course: pl.DataFrame


class Study:
    """The images and networks of one run, each made once; trainings are kept in its folder.

    Raises:
        ResourceError: If the device has no float64, in which norms are summed.
    """

    def __init__(self, profile: PeriodicBehaviorProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir
        require_float64(self.device, "Norms")

    @cached_property
    def device(self) -> torch.device:
        """The device of trainings."""
        return pick_device(self.profile.device)

    @cache  # noqa: B019 - a study lives as long as its run
    def data(self, problem: ProblemSettings) -> Images:
        """Return the training images of a problem."""
        return load(problem)

    def untrained(self, job: Job) -> nn.Module:
        """Return the network of a job with initial weights, on the sphere of its arm."""
        seed_everything(job.seed)
        network = build(job.problem, ARMS[job.arm], self.profile.last_norm)
        with torch.no_grad():
            for weight in invariant_weights(network):
                weight.mul_(ARMS[job.arm].sphere)
        return network

    def needs(self, job: Job) -> list[Job]:
        """Return the jobs that a job starts from: none."""
        return []

    @recently_trained
    def train(self, job: Job) -> Trained:
        """Return the finished training of a job."""
        images, network = self.data(job.problem), self.untrained(job)
        for weight in invariant_weights(network):
            # Pooling of small maps is several times as fast with the channels last.
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        arm, rate = ARMS[job.arm], job.rates.learning_rate
        task = DynamicsTask(network, rate, job.decay, arm.held)
        settings = TrainingSettings(
            batch_size=min(job.problem.batch, job.problem.examples),
            max_epochs=job.problem.epochs,
            seed=job.seed,
            device=self.profile.device,
            evaluate_every=1,
            log_every=2**31 - 1,  # rows of epochs alone
            checkpoint_minutes=5,
        )
        source = TensorBatches(images.pixels.to(self.device), images.labels.to(self.device))
        folder = trainings_folder(self, Study.train, Study.data) / distinct(job.arm, job)
        history = fit(task, source, settings, folder)
        rows = history.frame.filter(pl.col("loss").is_not_null())
        layers = pl.concat_list(f"^{LAYER}.*$").alias("layers")
        return Trained(network, rows.select(pl.col("epoch").cast(pl.Int64), *MEASURED, layers))
