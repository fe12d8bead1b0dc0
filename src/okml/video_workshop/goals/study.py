"""The study of objectives: the simulated world, logs of impressions, and what learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch

from okml.runtime import seed_everything
from okml.steps import StepResult, Steps
from okml.video_workshop.common.content import Features, film_features
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.study import Study
from okml.video_workshop.common.training import train
from okml.video_workshop.goals.arms import LOG, ROLLOUT, GoalJob
from okml.video_workshop.goals.impressions import (
    Audience,
    ImpressionBatches,
    Impressions,
    of_watched,
)
from okml.video_workshop.goals.policies import SoftmaxPolicy, Weigh, policy_task
from okml.video_workshop.goals.rankers import Ranker, ranker_task
from okml.video_workshop.goals.simulator import Policy, Rollout, logging_policy, roll_out
from okml.video_workshop.goals.world import World, build_world
from okml.video_workshop.settings.goals import GoalsSettings, PolicyNetworkSettings, RankerKind


class GoalsStudy(Study):
    """The world, its logs, a log with random impressions, and trained rankers and policies."""

    @property
    def settings(self) -> GoalsSettings:
        """Settings of the theme."""
        return self.profile.goals

    def train(self, job: GoalJob) -> StepResult:
        """Return the result of a job; a finished one is loaded from the folder of the run."""
        steps = Steps(self.profile, self.run_dir / "parts", str(self.device))
        return steps(f"{job.name} {job.seed}", job.compute, self, job.seed)

    def needs(self, job: GoalJob) -> list[GoalJob]:
        """Return no job: each trains all that it compares."""
        return []

    def results(self, jobs: Sequence[GoalJob]) -> StepResult:
        """Return the results of all seeds of an experiment as one."""
        result, parts = StepResult(), [self.train(job) for job in jobs]
        for part in parts:
            result.take(part)
        for name in parts[0].frames:
            result.frames[name] = pl.concat([part.frames[name] for part in parts])
        return result

    @cached_property
    def rated(self) -> Watched:
        """The log of ratings that the world is made of."""
        return self.log_of(self.profile.world_data)

    def world_content(self, seed: int) -> Features:
        """Return the content vectors of the simulator's items, ``[items + 1, d]``."""
        data = self.profile.world_data
        if data is None:
            return self.content(seed)
        return film_features(self.rated.films, data.text, seed)

    @cache  # noqa: B019 - a study lives as long as its run
    def world(self, seed: int) -> World:
        """Return a world, built from ratings and the content of their items."""
        content = self.world_content(seed)[1:].astype(np.float64)
        return build_world(self.rated, content, self.settings.simulator, seed)

    @cache  # noqa: B019 - a study lives as long as its run
    def audience(self, seed: int) -> Audience:
        """Return the users and items of the simulator."""
        return Audience(self.rated.interactions.user_count, self.world_content(seed))

    @cache  # noqa: B019 - a study lives as long as its run
    def impressions(self, seed: int, stream: int = LOG, days: int | None = None) -> Rollout:
        """Return a log of the simulator's logging policy.

        Args:
            seed: Random seed of the run.
            stream: Number of the random stream; other streams are other logs.
            days: Number of days; None: the value of the profile.
        """
        settings, world = self.settings.simulator, self.world(seed)
        policy, rng = logging_policy(world, settings), np.random.default_rng([seed, stream])
        length = settings.log_days if days is None else days
        return roll_out(world, policy, settings, rng, length, keep_states=True)

    def serve(
        self, policy: Policy, seed: int, days: int | None = None, tireless: bool = False
    ) -> Rollout:
        """Return the roll-out of a policy from the initial state of a seed's world.

        Args:
            policy: Policy that answers requests.
            seed: Seed of the world.
            days: Number of days; None: the value of the profile.
            tireless: Whether users never tire of what they click: the world without satiation.
        """
        world, rng = self.world(seed), np.random.default_rng([seed, ROLLOUT])
        world = replace(world, weariness=0.0) if tireless else world
        return roll_out(world, policy, self.settings.simulator, rng, days)

    @cached_property
    def _real_traffic(self) -> Watched | None:
        data = self.profile.traffic_data
        return None if data is None else self.log_of(data)

    @cache  # noqa: B019 - a study lives as long as its run
    def traffic_audience(self, seed: int) -> Audience:
        """Return the users and items of the log with random impressions."""
        watched, data = self._real_traffic, self.profile.traffic_data
        if watched is None or data is None:
            return self.audience(seed)
        content = film_features(watched.films, data.text, seed)
        return Audience(watched.interactions.user_count, content)

    def traffic(self, seed: int, stream: int) -> Impressions:
        """Return a log with some random impressions.

        Args:
            seed: Random seed of the run; a real log is the same for all.
            stream: Number of the simulator's random stream.
        """
        simulator, settings = self.settings.simulator, self.settings.traffic
        if self._real_traffic is not None:
            return of_watched(self._real_traffic, simulator.recent)
        explored = simulator.model_copy(update={"exploration": settings.exploration})
        world, rng = self.world(seed), np.random.default_rng([seed, stream])
        policy = logging_policy(world, explored)
        return roll_out(world, policy, explored, rng, settings.days, keep_states=True)

    def ranker(
        self,
        audience: Audience,
        log: Impressions,
        kind: RankerKind,
        tasks: tuple[str, ...],
        seed: int,
        trainings: Path,
    ) -> Ranker:
        """Return a ranker trained on a log, in evaluation mode.

        Args:
            audience: Users and items of the log.
            log: Impressions to learn from.
            kind: Architecture of the ranker.
            tasks: Names of the predicted tasks.
            seed: Random seed of the initial weights and of the order of examples.
            trainings: Folder of trainings.
        """
        settings = self.settings.ranker
        seed_everything(seed)
        content = torch.from_numpy(audience.content)
        clicks, places = log.recent.shape[1], log.items.shape[1]
        ranker = Ranker(audience.users, content, kind, tasks, settings, clicks, places)
        task = ranker_task(ranker.to(self.device), settings)
        train(
            self.profile, task, ImpressionBatches(log, self.device),
            trainings / f"{kind} {'+'.join(tasks)} {seed}",
            batch=settings.batch, epochs=settings.epochs, seed=seed,
        )  # fmt: skip
        return ranker.eval()

    def policy(
        self,
        audience: Audience,
        source: ImpressionBatches,
        weigh: Weigh,
        settings: PolicyNetworkSettings,
        seed: int,
        folder: Path,
        estimated: bool,
    ) -> SoftmaxPolicy:
        """Return a policy trained on a log, in evaluation mode.

        Args:
            audience: Users and items of the log.
            source: Batches of the log.
            weigh: Function that weights the log-likelihood, which defines the method.
            settings: Sizes and length of the training.
            seed: Random seed of the initial weights and of the order of requests.
            folder: Folder of the training.
            estimated: Whether β comes from the behavior head instead of the logged propensities.
        """
        seed_everything(seed)
        content = torch.from_numpy(audience.content)
        policy = SoftmaxPolicy(audience.users, content, settings.width).to(self.device)
        train(
            self.profile, policy_task(policy, weigh, settings.learning_rate, estimated), source,
            folder, batch=settings.batch, epochs=settings.epochs, seed=seed,
        )  # fmt: skip
        return policy.eval()
