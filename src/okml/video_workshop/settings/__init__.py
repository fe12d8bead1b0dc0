"""The settings of the chapter; those of a theme are in its package."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from okml.data.logs import impression_names
from okml.profile import Profile
from okml.settings import Count, rule
from okml.video_workshop.settings.data import RANKED, WatchLogSettings
from okml.video_workshop.settings.goals import GoalsSettings
from okml.video_workshop.settings.items import ItemsSettings
from okml.video_workshop.settings.stream import StreamSettings
from okml.video_workshop.settings.users import UsersSettings


class VideoWorkshopProfile(Profile):
    """All settings of the chapter ``video_workshop``."""

    chapter: ClassVar[str] = "video_workshop"

    data: WatchLogSettings = WatchLogSettings()
    cold_data: WatchLogSettings | None = None  # the experiment on new items; None: the same
    items: ItemsSettings = ItemsSettings()
    users: UsersSettings = UsersSettings()
    world_data: WatchLogSettings | None = None  # ratings that worlds are made of; None: the same
    traffic_data: WatchLogSettings | None = None  # impressions; None: the simulator's
    goals: GoalsSettings = GoalsSettings()
    stream: StreamSettings = StreamSettings()
    evaluation_batch: Count = 512  # rows ranked at a time
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False

    @model_validator(mode="after")
    def _signals_are_of_the_log(self) -> Self:
        known = next(names for start, names in RANKED.items() if self.data.log.startswith(start))
        if unknown := {*self.users.ranked} - {"liked", *known}:
            raise ValueError(
                f"users.ranked: {self.data.log} has no signal {', '.join(sorted(unknown))}; "
                f"known: liked, {', '.join(known)}"
            )
        return self

    _traffic = rule(
        lambda profile: (
            profile.traffic_data is None or profile.traffic_data.log in impression_names()
        ),
        "traffic_data needs a log of impressions",
    )
    _days = rule(
        lambda profile: (
            profile.traffic_data is not None
            or profile.goals.traffic.test_from < profile.goals.traffic.days
        ),
        "goals.traffic.test_from is after the last of the simulator's goals.traffic.days",
    )

    @property
    def worlds(self) -> tuple[int, ...]:
        """Seeds of the simulated worlds: those of the run, and further ones if there are few."""
        following = max(self.seeds) + 1
        further = max(0, self.goals.worlds - len(self.seeds))
        return (*self.seeds, *range(following, following + further))

    @property
    def logs(self) -> tuple[str, ...]:
        """Names of all logs that are read, each once."""
        data = (self.data, self.cold_data, self.world_data, self.traffic_data)
        names = [found.log for found in data if found is not None] + [
            found.log for found in self.stream.sessions
        ]
        return tuple(dict.fromkeys(names))
