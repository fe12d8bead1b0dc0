"""The settings of the chapter; those of a theme stand with its code."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from okml.profile import Profile
from okml.video_workshop.goals import GoalsSettings
from okml.video_workshop.items.settings import ItemsSettings
from okml.video_workshop.stream.settings import StreamSettings
from okml.video_workshop.users.settings import UsersSettings

TextEncoder = Literal["tfidf", "minilm"]


class DataSettings(BaseModel):
    """The log that the chapter is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: str = "ml_100k"  # in okml.data.logs: of MovieLens, MicroLens or KuaiRand
    users: int | None = Field(default=None, ge=50)  # drawn at random; None: all
    # An item joins the catalog with its event of this number; earlier ones are left out. None: all.
    least_item_events: int | None = Field(default=None, ge=1)
    text: TextEncoder = "minilm"  # who reads titles and genres
    # Vectors that MicroLens's authors extracted, instead of reading titles: text, image, video.
    features: tuple[str, ...] = ()


class VideoWorkshopProfile(Profile):
    """All settings of the chapter ``video_workshop``."""

    chapter: ClassVar[str] = "video_workshop"

    data: DataSettings = DataSettings()
    cold_data: DataSettings | None = None  # of the experiment on new items; None: the same
    items: ItemsSettings = ItemsSettings()
    users: UsersSettings = UsersSettings()
    world_data: DataSettings | None = None  # ratings that the simulator is made of; None: the same
    traffic_data: DataSettings | None = None  # impressions, some at random; None: the simulator's
    goals: GoalsSettings = GoalsSettings()
    stream: StreamSettings = StreamSettings()
    bootstrap: int = Field(default=1000, ge=100)  # resamples of the users, 95 % interval
    evaluation_batch: int = Field(default=512, ge=1)  # rows ranked at a time
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False

    @property
    def logs(self) -> tuple[str, ...]:
        """Names of all logs that are read, each once."""
        data = (self.data, self.cold_data, self.world_data, self.traffic_data)
        names = [found.log for found in data if found is not None] + [
            found.log for found in self.stream.sessions
        ]
        return tuple(dict.fromkeys(names))
