"""The state that the steps of a run share: a workbench for each image set."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from torch import nn

from okml.accelerator import pick_device
from okml.add.arms import TUNING_SEED, Job, foundations, searches, tuned, tunings
from okml.add.profile_settings import AddProfile, SetSettings
from okml.add.workbench import TrainedDenoiser, Workbench


class Study:
    """The workbenches of one run."""

    def __init__(self, profile: AddProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir
        self.device = pick_device(profile.device)

    @cache  # noqa: B019 - a study lives as long as its run
    def workbench(self, settings: SetSettings) -> Workbench:
        """Return the networks of an image set."""
        return Workbench(self.profile, settings, self.run_dir)

    def train(self, job: Job) -> TrainedDenoiser | nn.Module:
        """Return the finished training of a distillation or of a teacher, or a trained network."""
        return self.workbench(job.settings).train(job.what, job.seed, job.rate, job.steps)

    def needs(self, job: Job) -> list[Job]:
        """Return the foundations of the image set and seed, and what chooses the learning rate.

        A search goes on from the trainings at the first rates; who takes its rate waits for it.
        """
        known = foundations(self.profile)
        if job in known:
            return []
        needed = [each for each in known if each.what == "metric" or each.seed == job.seed]
        if job.rate is None:
            method = job.what if job.what in tuned(job.settings) else "default"
            choosing = tunings if job.seed == TUNING_SEED else searches
            needed += [each for each in choosing(self.profile) if each.what == method]
        return [each for each in needed if each.settings == job.settings]

    def let_go(self) -> None:
        """Forget all networks, which lie on the card; asked for again, they come from disk."""
        for cached in (
            Workbench.requests,
            Workbench.vit,
            Workbench.random_eye,
            Workbench.embeddings,
            Workbench.train_teacher,
            Workbench.distil,
            Workbench.consistency,
            Workbench.progressive,
            Workbench.tried,
            Workbench.judged,
            Study.workbench,
        ):
            cached.cache_clear()

    @property
    def main(self) -> Workbench:
        """The workbench of the first image set, which most claims are about."""
        return self.workbench(self.profile.main)
