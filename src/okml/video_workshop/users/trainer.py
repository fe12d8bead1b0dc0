"""Pre-trains user models and trains recommenders on them; finished trainings are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from okml.kept import distinct
from okml.runtime import seed_everything
from okml.seqrec.interactions import Ints
from okml.seqrec.losses import AnyLoss, ItemLoss, build_sampler
from okml.seqrec.popularity import item_counts
from okml.seqrec.rows import Mask, Rows, Windows, all_rows, most_recent
from okml.seqrec.splits import time_quantiles
from okml.seqrec.tasks import OptimizerSettings, build_optimizer, warmup
from okml.training import History, SupervisedTask, TrainingSettings, fit
from okml.training.ahead import side_by_side
from okml.training.recent import recently_trained
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.losses import catalog_loss
from okml.video_workshop.common.table import IdTable
from okml.video_workshop.common.training import training_settings
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.users import Mode, PretrainingSettings, UserModelSettings
from okml.video_workshop.users.batches import RequestBatches, WindowBatches, user_windows
from okml.video_workshop.users.downstream import (
    Consolidated,
    Ranking,
    Recommender,
    Retrieval,
    ranked_labels,
)
from okml.video_workshop.users.pretraining import Pretraining
from okml.video_workshop.users.transfer import take_over

CUT = 0.8  # share of events before the moment that separates training from test
BETAS = (0.9, 0.98)
SHARED_BY = 3  # recommenders that a consolidated model serves

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Base:
    """The configuration of one pre-training.

    Attributes:
        name: Name of the folder, unique together with the other fields.
        shuffled: Whether each event has the action of another event, as a control.
        share: Share of the users that are trained on.
    """

    name: str
    model: UserModelSettings
    pretraining: PretrainingSettings
    shuffled: bool = False
    share: float = 1.0


@dataclass(frozen=True)
class Arm:
    """The configuration of one recommender on a user model.

    Attributes:
        task: Task of the recommender.
        base: Pre-training of the user model; the mode scratch uses its sizes only.
        mode: Mode of transfer from the base.
        share: Share of the users whose labels it is trained on.
        untrained: Whether the base keeps its random weights, as a control.
    """

    task: Literal["retrieval", "ranking", "consolidated"]
    base: Base
    mode: Mode
    share: float = 1.0
    untrained: bool = False


@dataclass(frozen=True, eq=False)
class Trained(Generic[M]):
    """A module and the history of its training."""

    module: M
    history: History


class UserTrainer:
    """Trains on the events before the cut; the rows after the cut are the test.

    Args:
        folder: Folder of the trainings.
        device: Device on which models are trained.
    """

    def __init__(
        self, profile: VideoWorkshopProfile, watched: Watched, folder: Path, device: torch.device
    ) -> None:
        self.profile = profile
        self.settings = profile.users
        self.watched = watched
        self.folder = folder
        self.device = device

    @cached_property
    def cut(self) -> int:
        """Time in seconds before which all training events lie."""
        return time_quantiles(self.watched.interactions, CUT, (1 + CUT) / 2).valid

    @cached_property
    def train_end(self) -> Ints:
        """One past the last event before the cut of each user, ``[u]``."""
        events = self.watched.interactions
        before = np.concatenate([[0], np.cumsum(events.times < self.cut)])
        return events.offsets[:-1] + np.diff(before[events.offsets])

    @cached_property
    def test(self) -> Rows:
        """The newest requests after the cut of each user, the same for all models."""
        rows = all_rows(self.watched.interactions)
        later = rows.take(self.watched.interactions.times[rows.end] >= self.cut)
        return most_recent(later, self.settings.test_rows)

    @cached_property
    def liked_test(self) -> Rows:
        """Test rows whose target was liked."""
        return self.test.take(self.watched.liked[self.test.end])

    def requests(self, rows: Rows) -> RequestBatches:
        """Return a source of rows with histories as long as the base reads."""
        return RequestBatches(self.watched, rows, self.settings.base.length, device=self.device)

    @cached_property
    def genres(self) -> Tensor:
        """Genres of each item, 0 or 1, float ``[V + 1, g]``."""
        listed = self.watched.films["genres"].to_list()
        names = sorted({genre for genres in listed for genre in genres or ()})
        found = torch.zeros(len(listed) + 1, len(names))
        for item, genres in enumerate(listed, 1):
            for genre in genres or ():
                found[item, names.index(genre)] = 1
        return found

    @cached_property
    def labels(self) -> Mask:
        """Labels of ranking that each action implies, bool ``[actions + 1, tasks]``."""
        return ranked_labels(self.watched.kinds, self.settings.ranked)

    def item_loss(self, settings: AnyLoss) -> ItemLoss:
        """Return the loss over the items that existed before the cut."""
        return catalog_loss(settings, self._counts, self.watched.first_seen < self.cut)

    @recently_trained
    def pretrained(self, base: Base, seed: int) -> Trained[Pretraining]:
        """Return a pre-trained user model with its heads."""
        objective = self.fresh(base, seed)
        watched = self.watched
        if base.shuffled:
            actions = np.random.default_rng(seed).permutation(watched.actions)
            watched = replace(watched, actions=actions)
        how = base.pretraining
        source = self._source(watched, base, base.share, how.loss, seed)
        settings = training_settings(
            self.profile,
            batch=how.batch,
            steps=how.steps,
            seed=seed,
            gradient_clip=how.gradient_clip,
        )
        history = self._fit(objective, source, settings, how, _folder(base, seed))
        return Trained(objective.eval(), history)

    @recently_trained
    def recommender(self, arm: Arm, seed: int) -> Trained[Recommender]:
        """Return a trained recommender."""
        chosen, how = self.settings.downstream, arm.base.pretraining
        model = self._model_of(arm, seed)
        seed_everything(seed)
        recommender = self._on(model.to(self.device), arm).to(self.device)
        source = self._source(self.watched, arm.base, arm.share, how.loss, seed)
        steps = chosen.steps + (how.steps if arm.mode == "scratch" else 0)
        settings = training_settings(
            self.profile,
            batch=chosen.batch,
            steps=steps,
            seed=seed,
            gradient_clip=how.gradient_clip,
        )
        how = how.model_copy(update={"learning_rate": chosen.learning_rate, "warmup_steps": 0})
        history = self._fit(recommender, source, settings, how, _folder(arm, seed))
        return Trained(recommender.eval(), history)

    def events_of(self, base: Base, seed: int) -> int:
        """Return the number of events before the cut of a pre-training's users."""
        windows = self._windows(base, base.share, seed)
        users = np.unique(windows.user)
        return int((self.train_end - self.watched.interactions.offsets[:-1])[users].sum())

    def fresh(self, base: Base, seed: int, tasks: int = 0) -> Pretraining:
        """Return a user model and its heads with random weights."""
        seed_everything(seed)
        table = IdTable(self.watched.interactions.item_count, base.model.width)
        genres = self.genres.shape[1]
        model = UserModel(table, base.model, tasks, self.watched.kinds, genres)
        loss = self.item_loss(base.pretraining.loss)
        return Pretraining(model, loss, self.genres, base.pretraining.weights).to(self.device)

    def _model_of(self, arm: Arm, seed: int) -> UserModel:
        """Return the user model that an arm starts from, ready for its mode."""
        tasks = SHARED_BY if arm.task == "consolidated" else 0
        model = self.fresh(arm.base, seed, tasks).model
        if arm.mode != "scratch" and not arm.untrained:
            weights = self.pretrained(arm.base, seed).module.model.state_dict()
            model.load_state_dict(model.state_dict() | weights)
        chosen = self.settings.downstream
        return take_over(model, arm.mode, chosen.rank, chosen.alpha)

    def _on(self, model: UserModel, arm: Arm) -> Recommender:
        tasks, chosen = self.settings.ranked, self.settings.downstream
        if arm.task == "ranking":
            return Ranking(model, tasks, chosen.head, chosen.heads)
        loss = self.item_loss(arm.base.pretraining.loss)
        if arm.task == "retrieval":
            return Retrieval(model, loss)
        return Consolidated(model, loss, tasks, chosen.head, chosen.heads)

    def _source(
        self, watched: Watched, base: Base, share: float, loss: AnyLoss, seed: int
    ) -> WindowBatches:
        """Return the batches of an epoch."""
        return WindowBatches(
            watched,
            self._windows(base, share, seed),
            negatives=build_sampler(loss, self._counts),
            device=self.device,
        )

    def _windows(self, base: Base, share: float, seed: int) -> Windows:
        """Return the windows of a share of the users; a smaller share is part of a larger one."""
        kind, length = base.pretraining.windows, base.model.length
        windows = user_windows(self.watched.interactions, self.train_end, length, kind)
        return _of_users(windows, share, seed)

    @cached_property
    def _counts(self) -> Ints:
        return item_counts(self.watched.interactions, self.train_end)

    def _fit(
        self,
        module: nn.Module,
        source: WindowBatches,
        settings: TrainingSettings,
        how: PretrainingSettings,
        name: str,
    ) -> History:
        optimizer = build_optimizer(
            module,
            OptimizerSettings(
                learning_rate=how.learning_rate, betas=BETAS, weight_decay=how.weight_decay
            ),
        )
        task = SupervisedTask(
            module,
            lambda model, batch: model(batch),
            optimizer,
            scheduler=warmup(optimizer, how.warmup_steps),
        )
        return fit(task, source, settings, self.folder / name)


def _of_users(windows: Windows, share: float, seed: int) -> Windows:
    users = np.unique(windows.user)
    drawn = np.random.default_rng(seed).permutation(users)[: max(1, round(share * len(users)))]
    kept = np.isin(windows.user, drawn)
    return Windows(
        user=windows.user[kept],
        stop=windows.stop[kept],
        limit=windows.limit[kept],
        slack=windows.slack[kept],
        length=windows.length,
    )


def _folder(job: Base | Arm, seed: int) -> str:
    """Return a readable name that is unique to the settings."""
    what = job.name if isinstance(job, Base) else f"{job.task}_{job.mode}_{job.base.name}"
    return f"{distinct(what, job)}_{seed}"


Job = tuple[Base | Arm, int]


def train_ahead(trainer: UserTrainer, jobs: Sequence[Job]) -> None:
    """Run trainings in parallel, the pre-trainings before their recommenders."""
    waves = [wave for wave in bases_first(jobs) if wave]
    given = (trainer.profile, trainer.watched, trainer.folder, trainer.device)
    side_by_side(partial(UserTrainer, *given), _carry_out, waves, trainer.device)


def _carry_out(trainer: UserTrainer, job: Job) -> None:
    what, seed = job
    if isinstance(what, Base):
        trainer.pretrained(what, seed)
    else:
        trainer.recommender(what, seed)


def bases_first(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Split jobs into the pre-trainings that they are or need, and the recommenders."""
    bases: list[Job] = []
    for what, seed in jobs:
        if isinstance(what, Base):
            bases.append((what, seed))
        elif what.mode != "scratch" and not what.untrained:
            bases.append((what.base, seed))
    first = list(dict.fromkeys(bases))
    return first, list(dict.fromkeys(job for job in jobs if job not in first))
