"""The steps of the experiment, which the notebook calls as well."""

from __future__ import annotations

from functools import cached_property

from okml.experiment import ChapterExperiment, step
from okml.video_workshop.common.describe import describe_data
from okml.video_workshop.common.study import Study
from okml.video_workshop.figures import RECORDED
from okml.video_workshop.goals.experiments.ahead import train_goals
from okml.video_workshop.goals.experiments.constrained import measure_constrained
from okml.video_workshop.goals.experiments.objectives import measure_objectives, measure_world
from okml.video_workshop.goals.experiments.top_k import measure_corrections
from okml.video_workshop.goals.experiments.traffic import measure_traffic
from okml.video_workshop.goals.study import GoalsStudy
from okml.video_workshop.items.experiments.last_items import measure_last_items
from okml.video_workshop.items.experiments.new_items import measure_cold_items, measure_quantizers
from okml.video_workshop.items.study import ItemsStudy
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.stream.experiments.freshness import (
    measure_freshness,
    measure_sessions,
    measure_shards,
)
from okml.video_workshop.stream.experiments.news import measure_new_items, measure_shock
from okml.video_workshop.stream.study import StreamStudy
from okml.video_workshop.users.experiments.reuse import (
    measure_action_tokens,
    measure_propagation,
    measure_reuse,
    train_users,
)
from okml.video_workshop.users.study import UsersStudy


class Rooms(Study):
    """The studies of all themes of one run."""

    @cached_property
    def items(self) -> ItemsStudy:
        """Item representations."""
        return ItemsStudy(self.profile, self.run_dir, self)

    @cached_property
    def users(self) -> UsersStudy:
        """User models and recommenders on them."""
        return UsersStudy(self.profile, self.run_dir, self)

    @cached_property
    def goals(self) -> GoalsStudy:
        """Rankers and policies."""
        return GoalsStudy(self.profile, self.run_dir, self)

    @cached_property
    def stream(self) -> StreamStudy:
        """Recommenders on streams."""
        return StreamStudy(self.profile, self.run_dir, self)


class Experiment(ChapterExperiment[VideoWorkshopProfile, Rooms]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    open_study = Rooms
    recorded = RECORDED
    data = step(describe_data)
    quantizers = step(measure_quantizers, room="items")
    users_training = step(train_users, room="users")
    cold = step(measure_cold_items, room="items")
    last_items = step(measure_last_items, room="items")
    reuse = step(measure_reuse, room="users")
    action_tokens = step(measure_action_tokens, room="users")
    propagation = step(measure_propagation, room="users")
    goals_training = step(train_goals, room="goals")
    world = step(measure_world, room="goals")
    objectives = step(measure_objectives, room="goals")
    corrections = step(measure_corrections, room="goals")
    constrained = step(measure_constrained, room="goals")
    traffic = step(measure_traffic, room="goals")
    freshness = step(measure_freshness, room="stream")
    new_items = step(measure_new_items, room="stream")
    shock = step(measure_shock, room="stream")
    update_intervals = step(measure_shards, room="stream")
    sessions = step(measure_sessions, room="stream")
