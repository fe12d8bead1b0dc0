"""Pre-trains user models and trains recommenders on them; finished trainings are loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from okml.kept import trainings_folder
from okml.runtime import seed_everything
from okml.seqrec.interactions import Ints, TieRule
from okml.seqrec.losses import AnyLoss, ItemLoss, build_sampler
from okml.seqrec.metrics import ndcg
from okml.seqrec.popularity import item_counts
from okml.seqrec.rows import Mask, Rows, Windows, all_rows, most_recent
from okml.seqrec.splits import time_quantiles
from okml.seqrec.tasks import Evaluation
from okml.training import History
from okml.training.recent import recently_trained
from okml.training.sharded import shard
from okml.video_workshop.common.content import item_modalities
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.events import ends_of
from okml.video_workshop.common.losses import catalog_loss
from okml.video_workshop.common.study import Study
from okml.video_workshop.common.training import BETAS, task_of, train
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.maker import TableMaker
from okml.video_workshop.settings.users import UsersSettings
from okml.video_workshop.users.arms import Base, RecommenderTask, UserArm, UserJob, needs_of
from okml.video_workshop.users.batches import RequestBatches, WindowBatches, user_windows
from okml.video_workshop.users.downstream import (
    DownstreamModel,
    RankingModel,
    Retrieval,
    ranked_labels,
)
from okml.video_workshop.users.pretraining import Pretraining
from okml.video_workshop.users.scoring import auc_rows, ranking_logits, retrieval_ranks

CUT = 0.8  # share of events before the moment that separates training from test
# What chooses the weights of a recommender, and ends its training.
MONITORS: dict[RecommenderTask, str] = {"retrieval": "ndcg@10", "ranking": "gauc"}
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class TrainedModule(Generic[M]):
    """A module and the history of its training."""

    module: M
    history: History


class UsersStudy(Study):
    """User models and recommenders: trained before the cut, tested on the rows after it.

    Recommenders are validated on the newest rows before it, which nothing is trained to predict.
    """

    @property
    def settings(self) -> UsersSettings:
        """Settings of the theme."""
        return self.profile.users

    @cached_property
    def folder(self) -> Path:
        """Folder of the trainings."""
        return trainings_folder(self, UsersStudy)

    def reordered(self, tie_rule: TieRule, tie_seed: int = 0) -> UsersStudy:
        """Return a study of the log with tied events in another order.

        Raises:
            ParameterError: If the log has no tied events.
        """
        found = UsersStudy(self.profile, self.run_dir)
        found.watched = self.in_order(tie_rule, tie_seed)
        return found

    def needs(self, job: UserJob) -> list[UserJob]:
        """Return the pre-training that a recommender starts from."""
        return needs_of(job)

    def train(self, job: UserJob) -> TrainedModule[Pretraining] | TrainedModule[DownstreamModel]:
        """Return a finished training."""
        if isinstance(job.what, Base):
            return self.pretrained(job.what, job.seed)
        return self.recommender(job.what, job.seed)

    @cached_property
    def cut(self) -> int:
        """Time in seconds before which all training events lie."""
        return time_quantiles(self.watched.interactions, CUT, (1 + CUT) / 2).valid

    @cached_property
    def train_end(self) -> Ints:
        """One past the last event of training of each user, ``[u]``: validation has the newest."""
        events = self.watched.interactions
        validated = np.bincount(self.valid.user, minlength=events.user_count)
        return ends_of(events, events.times < self.cut) - validated

    @cached_property
    def valid(self) -> Rows:
        """The newest requests before the cut of each user."""
        rows = all_rows(self.watched.interactions)
        early = rows.take(self.watched.interactions.times[rows.end] < self.cut)
        return most_recent(early, self.settings.valid_rows)

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

    def valid_of(self, arm: UserArm, seed: int) -> Rows:
        """Return the rows that a recommender is validated on, of users whose labels it has."""
        users = self.labeled(arm.share, seed)[: self.settings.valid_users]
        rows = self.valid.take(np.isin(self.valid.user, users))
        if arm.task == "ranking":
            return rows
        return rows.take(self.watched.liked[rows.end])

    def labeled(self, share: float, seed: int) -> Ints:
        """Return the users whose events are labels; a smaller share is part of a larger one."""
        users = np.flatnonzero(self.train_end - self.watched.interactions.offsets[:-1] > 1)
        drawn = np.random.default_rng(seed).permutation(users)
        return drawn[: max(1, round(share * len(users)))]

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
    def pretrained(self, base: Base, seed: int) -> TrainedModule[Pretraining]:
        """Return a pre-trained user model with its heads."""
        objective, how, told = self.fresh(base, seed), base.pretraining, None
        if self.mesh is not None:
            shard(objective, (), mesh=self.mesh)  # all but the item rows, which are spread
        if base.shuffled:
            actions = np.random.default_rng(seed).permutation(self.watched.actions)
            told = replace(self.watched, actions=actions)
        source = self._source(base, 1.0, seed, told)
        task = task_of(objective, how, betas=BETAS, warmup_steps=how.warmup_steps)
        history = train(
            self.profile, task, source,
            self.folder / UserJob(base, seed).name, batch=how.batch, steps=how.steps, seed=seed,
            gradient_clip=how.gradient_clip,
        )  # fmt: skip
        return TrainedModule(objective.eval(), history)

    @recently_trained
    def recommender(self, arm: UserArm, seed: int) -> TrainedModule[DownstreamModel]:
        """Return a trained recommender, with the weights that are best in validation."""
        chosen, how = self.settings.downstream, arm.base.pretraining
        steps = chosen.steps if arm.share < 1 else chosen.steps_all_labels
        # Training from scratch has the steps of the base, too, with its rate and warm-up, and
        # patience for the same share of them.
        scratch = arm.mode == "scratch"
        limit = steps + (how.steps if scratch else 0)
        model = self._model_of(arm, seed)
        seed_everything(seed)
        recommender = self._on(model.to(self.device), arm).to(self.device)
        source = self._source(arm.base, arm.share, seed)
        task = task_of(
            recommender, how, betas=BETAS,
            learning_rate=how.learning_rate if scratch else chosen.learning_rate,
            warmup_steps=how.warmup_steps if scratch else 0,
            evaluate=self._validation(arm, seed),
        )  # fmt: skip
        history = train(
            self.profile, task, source,
            self.folder / UserJob(arm, seed).name, batch=chosen.batch,
            steps=limit, seed=seed,
            gradient_clip=how.gradient_clip, monitor=MONITORS[arm.task],
            evaluate_every=chosen.evaluate_every, patience=round(chosen.patience * limit / steps),
        )  # fmt: skip
        return TrainedModule(recommender.eval(), history)

    def fresh(self, base: Base, seed: int) -> Pretraining:
        """Return a user model and its heads with random weights."""
        seed_everything(seed)
        table = self.tables.make(base.table, seed, width=base.model.width, mesh=self.mesh)
        genres = self.genres.shape[1]
        model = UserModel(table, base.model, self.watched.kinds, genres)
        loss = self.item_loss(base.pretraining.loss)
        return Pretraining(model, loss, self.genres, base.pretraining.weights).to(self.device)

    @cached_property
    def tables(self) -> TableMaker:
        """Maker of item tables.

        Quantizers and text weights are fitted on the items with events before the cut.
        """
        known = self._counts > 0
        modalities = cache(partial(item_modalities, self.profile.data, self.watched.films, known))
        return TableMaker(modalities, self._counts, self.profile.items, self.device)

    @cached_property
    def mesh(self) -> DeviceMesh | None:
        """The processes that share a training and its weights; None: there is one."""
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return None
        return init_device_mesh(self.device.type, (dist.get_world_size(),))

    def _model_of(self, arm: UserArm, seed: int) -> UserModel:
        """Return the user model that an arm starts from; the mode frozen trains none of it."""
        model = self.fresh(arm.base, seed).model
        if arm.mode != "scratch":
            model.load_state_dict(self.pretrained(arm.base, seed).module.model.state_dict())
        return model.requires_grad_(arm.mode != "frozen")

    def _on(self, model: UserModel, arm: UserArm) -> DownstreamModel:
        if arm.task == "ranking":
            return RankingModel(model, self.settings.ranked, self.settings.downstream.heads)
        return Retrieval(model, self.item_loss(arm.base.pretraining.loss))

    def _validation(self, arm: UserArm, seed: int) -> Evaluation:
        """Return the evaluation of a recommender by the metric that its task is tested by."""
        rows, batch = self.valid_of(arm, seed), self.profile.evaluation_batch
        source, labels = self.requests(rows), self.labels[self.watched.actions[rows.end]]

        def evaluate(recommender: nn.Module) -> dict[str, float]:
            if isinstance(recommender, RankingModel):
                logits = ranking_logits(recommender, source, batch)
                value = np.nanmean(auc_rows(logits, labels, rows.user))
            else:
                assert isinstance(recommender, Retrieval)
                ranks = retrieval_ranks(recommender, source, self.watched.first_seen, batch)
                value = ndcg(ranks, 10).mean()
            return {MONITORS[arm.task]: float(value)}

        return evaluate

    def _source(
        self, base: Base, share: float, seed: int, told: Watched | None = None
    ) -> WindowBatches:
        """Return the batches of an epoch; the actions of ``told`` are read, if it is given."""
        return WindowBatches(
            self.watched,
            self._windows(base.model.length, share, seed),
            told=told,
            negatives=build_sampler(base.pretraining.loss, self._counts),
            device=self.device,
        )

    def _windows(self, length: int, share: float, seed: int) -> Windows:
        """Return the windows of the users whose events are labels."""
        windows = user_windows(self.watched.interactions, self.train_end, length)
        return windows.take(np.isin(windows.user, self.labeled(share, seed)))

    @cached_property
    def _counts(self) -> Ints:
        return item_counts(self.watched.interactions, self.train_end)
