"""The shared state of the chapter's experiments: logs, content of items, trainers, device."""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch

from okml.errors import ParameterError
from okml.kept import trainings_folder
from okml.runtime import pick_device
from okml.video_workshop.common.content import Features, film_features, item_modalities
from okml.video_workshop.common.data import Watched, has_tie_rule, load_watched
from okml.video_workshop.goals.impressions import Audience, Impressions, of_watched
from okml.video_workshop.goals.simulator import Rollout, logging_policy, roll_out
from okml.video_workshop.goals.world import World, build_world
from okml.video_workshop.items.arms import TableMaker
from okml.video_workshop.items.cold_split import ColdSplit, hold_out_items
from okml.video_workshop.items.last_items import LastItems
from okml.video_workshop.items.multimodal import Modalities
from okml.video_workshop.items.pretraining import ItemPretrainer
from okml.video_workshop.items.training import ColdItems
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.users.trainer import UserTrainer


class Study:
    """Data and models of one run, each computed once.

    Args:
        run_dir: Folder of the run.
    """

    def __init__(self, profile: VideoWorkshopProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir

    @cached_property
    def device(self) -> torch.device:
        """Device of trainings and rankings."""
        return pick_device(self.profile.device)

    @cached_property
    def watched(self) -> Watched:
        """The log."""
        return load_watched(self.profile.data)

    @cache  # noqa: B019 - a study lives as long as its run
    def content(self, seed: int) -> Features:
        """Return the content vectors of items, unit vectors ``[items + 1, f]``."""
        return film_features(self.watched.films, self.profile.data.text, seed)

    @cached_property
    def cold_watched(self) -> Watched:
        """The log of the experiment on new items."""
        data = self.profile.cold_data
        return self.watched if data is None else load_watched(data)

    @cached_property
    def cold_split(self) -> ColdSplit:
        """Split of the experiment on new items."""
        return hold_out_items(self.cold_watched.interactions, self.profile.items)

    @cache  # noqa: B019 - a study lives as long as its run
    def modalities(self, seed: int) -> Modalities:
        """Return the content features of the experiment on new items, by modality."""
        data, known = self.profile.cold_data or self.profile.data, self.cold_split.known
        return item_modalities(data, self.cold_watched.films, known, seed)

    @cached_property
    def item_pretrainer(self) -> ItemPretrainer:
        """Pre-trainer of content vectors of the experiment on new items."""
        folder = trainings_folder(self, Study.item_pretrainer, ItemPretrainer)
        return ItemPretrainer(self.profile, self.cold_split, self.modalities, folder, self.device)

    @cached_property
    def cold_items(self) -> ColdItems:
        """Split, tables and models of the experiment on new items."""
        split, pretrainer = self.cold_split, self.item_pretrainer
        maker = TableMaker(
            self.modalities, split.counts, self.profile.items, self.device, pretrainer.vectors
        )
        folder = trainings_folder(self, Study.cold_items, ColdItems)
        return ColdItems(self.profile, split, maker, folder, self.device)

    @cached_property
    def last_items(self) -> LastItems:
        """Last-item experiment on the log of new items, by the protocol of MicroLens's table."""
        folder = trainings_folder(self, Study.last_items, LastItems)
        return LastItems(self.profile, self.cold_watched, folder, self.device)

    @cached_property
    def _world_watched(self) -> Watched:
        data = self.profile.world_data
        return self.watched if data is None else load_watched(data)

    def world_content(self, seed: int) -> Features:
        """Return the content vectors of the simulator's items, ``[items + 1, f]``."""
        data = self.profile.world_data
        if data is None:
            return self.content(seed)
        return film_features(self._world_watched.films, data.text, seed)

    @cached_property
    def world(self) -> World:
        """Simulated world, built from ratings and the content of their items."""
        settings = self.profile.goals.simulator
        content = self.world_content(settings.world_seed)[1:].astype(np.float64)
        return build_world(self._world_watched, content, settings)

    @cache  # noqa: B019 - a study lives as long as its run
    def audience(self, seed: int) -> Audience:
        """Return the users and items of the simulator."""
        return Audience(self.world.users, self.world_content(seed))

    @cache  # noqa: B019 - a study lives as long as its run
    def impressions(self, seed: int, stream: int = 0, days: int | None = None) -> Rollout:
        """Return a log of the simulator's logging policy.

        Args:
            seed: Random seed of the run.
            stream: Number of the random stream; other streams are other logs.
            days: Number of days; None: the value of the profile.
        """
        settings = self.profile.goals.simulator
        policy, rng = logging_policy(self.world, settings), np.random.default_rng([seed, stream])
        length = settings.log_days if days is None else days
        return roll_out(self.world, policy, settings, rng, length, keep_states=True)

    @cache  # noqa: B019 - a study lives as long as its run
    def traffic_audience(self, seed: int) -> Audience:
        """Return the users and items of the log with random impressions."""
        watched, data = self._traffic, self.profile.traffic_data
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
        if self._real_traffic is not None:
            return self._real_traffic
        simulator, settings = self.profile.goals.simulator, self.profile.goals.traffic
        explored = simulator.model_copy(update={"exploration": settings.exploration})
        policy, rng = logging_policy(self.world, explored), np.random.default_rng([seed, stream])
        return roll_out(self.world, policy, explored, rng, settings.days, keep_states=True)

    @cached_property
    def _real_traffic(self) -> Impressions | None:
        watched = self._traffic
        return None if watched is None else of_watched(watched, self.profile.goals.simulator.recent)

    @cached_property
    def _traffic(self) -> Watched | None:
        data = self.profile.traffic_data
        return None if data is None else load_watched(data)

    @cached_property
    def users(self) -> UserTrainer:
        """Trainer of user models and recommenders."""
        return self._user_trainer(self.watched)

    def reordered_users(self, seed: int) -> UserTrainer:
        """Return a trainer on the log with tied events in a random order.

        Raises:
            ParameterError: If the log has no tied events.
        """
        if not has_tie_rule(self.profile.data.log):
            raise ParameterError(f"The events of {self.profile.data.log} have one order only.")
        watched = load_watched(self.profile.data, "random", seed)
        return self._user_trainer(watched)

    def _user_trainer(self, watched: Watched) -> UserTrainer:
        folder = trainings_folder(self, Study.users, Study.reordered_users, UserTrainer)
        return UserTrainer(self.profile, watched, folder, self.device)
