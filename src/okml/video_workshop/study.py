"""What every experiment of the chapter shares: the log, the content of its items, the device."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch

from okml.runtime import pick_device
from okml.steps import code_hash
from okml.video_workshop.content import Features, film_features, item_modalities
from okml.video_workshop.data import Watched, load_watched
from okml.video_workshop.items.arms import TableMaker
from okml.video_workshop.items.cold_split import hold_out_items
from okml.video_workshop.items.training import ColdItems
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.users.trainer import UserTrainer


class Study:
    """Data and models of one run, each made once.

    Args:
        profile: The settings.
        run_dir: Where trainings are kept.
    """

    def __init__(self, profile: VideoWorkshopProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir

    @cached_property
    def device(self) -> torch.device:
        """Where models train and rank."""
        return pick_device(self.profile.device)

    @cached_property
    def watched(self) -> Watched:
        """The log."""
        return load_watched(self.profile.data)

    @cached_property
    def content(self) -> Features:
        """What each item is about, unit vectors ``[items + 1, f]``; nobody's events are in it."""
        return film_features(self.watched.films, self.profile.data.text)

    @cached_property
    def trainings(self) -> Path:
        """Where trainings are kept; those of other code are of no use, and not in the way."""
        return self.run_dir / "training" / code_hash(self.profile.chapter)[:12]

    @cached_property
    def cold_watched(self) -> Watched:
        """The log of the experiment on new items."""
        data = self.profile.cold_data
        return self.watched if data is None else load_watched(data)

    @cached_property
    def cold_items(self) -> ColdItems:
        """The experiment on new items: what training sees, and its models."""
        watched, settings = self.cold_watched, self.profile.items
        split = hold_out_items(watched.interactions, settings)
        data = self.profile.cold_data or self.profile.data
        maker = TableMaker(
            item_modalities(data, watched.films, split.known), split.counts, settings
        )
        return ColdItems(self.profile, split, maker, self.trainings / "cold", self.device)

    @cached_property
    def users(self) -> UserTrainer:
        """User models and what stands on them."""
        return UserTrainer(self.profile, self.watched, self.trainings / "users", self.device)
