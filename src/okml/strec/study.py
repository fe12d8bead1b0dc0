"""The study of the chapter: data, trained encoders and rankings that the experiments share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch

from okml.kept import trainings_folder
from okml.runtime import pick_device, seed_everything
from okml.seqrec.backbone import Backbone
from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.encoder import Encoder
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Rows
from okml.seqrec.scorers import Scorer, encoder_scorer
from okml.seqrec.settings import BackboneSettings
from okml.strec.arms import Arm, build, start_from
from okml.strec.comparison import Comparison
from okml.strec.data import Prepared, prepare
from okml.strec.model import Stage, STRec
from okml.strec.references import REFERENCES, ReferenceName
from okml.strec.settings import DataSettings, Recipe, StrecProfile
from okml.strec.trainer import Trained, Trainer
from okml.training.recent import recently_trained

EVALUATION_SEED = 0  # seed of encoders that draw at inference


class Study:
    """The data and encoders of one run, each made once.

    Args:
        profile: The settings of the run.
        run_dir: The folder of the run, which keeps trainings.
    """

    def __init__(self, profile: StrecProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir

    @cached_property
    def device(self) -> torch.device:
        """The device of trainings and rankings."""
        return pick_device(self.profile.device)

    @cache  # noqa: B019 - a study lives as long as its run
    def data(self, settings: DataSettings) -> Prepared:
        """Return a data set under its protocol."""
        return prepare(settings)

    def rows_source(self, data: Prepared, rows: Rows, length: int) -> LastTargetBatches:
        """Return a source of batches of rows, built on the device."""
        return LastTargetBatches(data.interactions, rows, length, device=self.device)

    def comparison(self, data: Prepared) -> Comparison:
        """Return an empty comparison on the test rows."""
        return Comparison(data.test.user)

    def untrained(self, data: Prepared, recipe: Recipe, arm: Arm, seed: int) -> Backbone:
        """Return the encoder of an arm with initial weights."""
        seed_everything(seed)
        settings = self.profile.backbone(data.settings, recipe)
        return build(arm, data.items, settings, recipe).to(self.device)

    def new_causal(self, data: Prepared, layers: int) -> Backbone:
        """Return a causal SASRec with initial weights."""
        causal, network = self.profile.causal, self.profile.network
        settings = BackboneSettings(
            length=data.settings.length,
            width=network.width,
            heads=causal.heads,
            layers=layers,
            hidden=network.hidden,
            dropout=causal.dropout,
        )
        return Backbone(data.items, settings).to(self.device)

    @recently_trained
    def warm_start(self, data: Prepared, recipe: Recipe, seed: int) -> Trained[Backbone]:
        """Return a trained causal encoder of the backbone's shapes, the warm start of all arms."""
        seed_everything(seed)
        settings = self.profile.backbone(data.settings, recipe)
        causal = settings.model_copy(update={"causal": True})
        encoder = Backbone(data.items, causal).to(self.device)
        return self._trainer(Study.warm_start).warm_start(data, recipe, encoder, seed)

    @recently_trained
    def train_causal(self, data: Prepared, layers: int, seed: int) -> Trained[Backbone]:
        """Return a trained causal SASRec."""
        seed_everything(seed)
        encoder = self.new_causal(data, layers)
        loss = self.profile.recipe.loss
        trainer = self._trainer(Study.train_causal)
        return trainer.causal(data, f"causal {layers}", encoder, loss, seed)

    @recently_trained
    def train_reference(self, data: Prepared, name: ReferenceName, seed: int) -> Trained[Encoder]:
        """Return a trained recommender of another paper."""
        seed_everything(seed)
        reference = REFERENCES[name]
        encoder = reference.build(data.items, data.settings.length).to(self.device)
        trainer = self._trainer(Study.train_reference)
        return trainer.causal(data, name, encoder, reference.loss, seed)

    @recently_trained
    def train(
        self,
        data: Prepared,
        recipe: Recipe,
        arm: Arm,
        seed: int,
        epochs: tuple[int, int] | None = None,
    ) -> Trained[Backbone]:
        """Return a trained arm.

        Args:
            data: The data set.
            recipe: The recipe of the training.
            arm: The arm to train.
            seed: The seed of weights outside of the warm start, of order and of dropout.
            epochs: The epochs of the two stages; None for the recipe's.
        """
        relaxed, hard = epochs or (recipe.relaxed_epochs, recipe.hard_epochs)
        encoder = self.untrained(data, recipe, arm, seed)
        share = 0.0
        if recipe.warm_start_epochs:
            share = start_from(encoder, self.warm_start(data, recipe, seed).encoder.state_dict())
        trainer = self._trainer(Study.train)
        trained = trainer.stages(data, recipe, arm, encoder, seed, relaxed, hard)
        trained.warm_share = share
        return trained

    def _trainer(self, trained_by: Callable[..., Any]) -> Trainer:
        folder = trainings_folder(self, trained_by, Study.data)
        return Trainer(self.profile, folder, self.device)

    def evaluate(
        self,
        encoder: Encoder,
        data: Prepared,
        *,
        length: int | None = None,
        hide_seen: bool = False,
        noise_seed: int | None = None,
        stage: Stage = "hard",
    ) -> Ranks:
        """Return the ranks of the test rows.

        Args:
            encoder: A trained encoder.
            data: The data set of the test rows.
            length: The number of newest items in the input; None for the window.
            hide_seen: Whether to exclude items of the history from the candidates.
            noise_seed: The seed of the paper's noise at inference; None for noise only if the
                sampler's settings have it.
            stage: The stage in which STRec is evaluated.
        """
        encoder.eval()
        with torch.random.fork_rng(devices=self._cuda_devices()), _as(encoder, stage, noise_seed):
            torch.manual_seed(EVALUATION_SEED if noise_seed is None else noise_seed)
            return self.rank(
                encoder_scorer(encoder), data, data.test, length or data.settings.length,
                hide_seen=hide_seen,
            )  # fmt: skip

    def rank(
        self, scorer: Scorer, data: Prepared, rows: Rows, length: int, *, hide_seen: bool = False
    ) -> Ranks:
        """Return the ranks of rows by a scorer, among all items, with ties against the model."""
        source = self.rows_source(data, rows, length)
        return rank_rows(
            scorer, source, hide_seen=hide_seen, batch_size=self.profile.evaluation_batch
        )

    def _cuda_devices(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []


@contextmanager
def _as(encoder: Encoder, stage: Stage, noise_seed: int | None) -> Iterator[None]:
    """Set the stage of STRec, and its noise if there is a seed, inside the context."""
    if isinstance(encoder, STRec):
        encoder.stage = stage
        encoder.sampler.noise_at_evaluation |= noise_seed is not None
    yield
    if isinstance(encoder, STRec):
        encoder.stage = "hard"
        encoder.sampler.noise_at_evaluation = encoder.sampler.settings.noise_at_evaluation
