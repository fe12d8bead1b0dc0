"""The settings of the chapter; those of a theme are in its package."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from okml.data.logs import SIGNALS, impression_names, names
from okml.data.logs.microlens import Modality
from okml.profile import Profile
from okml.settings import Count, Distinct, Settings, one_of, rule
from okml.video_workshop.goals import GoalsSettings
from okml.video_workshop.items.settings import ItemsSettings
from okml.video_workshop.stream.settings import StreamSettings
from okml.video_workshop.users.settings import UsersSettings

# Actions of MovieLens, which has ratings and no impressions or clicks.
ACTIONS = ("dislike", "neutral", "like", "love")
# Labels of ranking besides `liked`, by the prefix of a log's name.
RANKED = {"ml_": ACTIONS, "microlens_": ("comment",), "kuairand_": ("skip", *SIGNALS)}


def _watched_names() -> list[str]:
    """Return the logs with titles: those of MovieLens, MicroLens and KuaiRand."""
    return [
        *filter(lambda name: name.startswith(("ml_", "microlens_")), names()),
        *impression_names(),
    ]


WatchedName = Annotated[str, one_of("log with titles", _watched_names)]
TextEncoder = Literal["tfidf", "minilm"]


class DataSettings(Settings):
    """The log of the chapter and the content features of its items."""

    log: WatchedName = "ml_100k"
    users: Count | None = Field(default=None, ge=50)  # drawn at random; None: all
    # An item joins the catalog with its event of this number; earlier ones are left out. None: no
    # filter.
    least_item_events: Count | None = None
    text: TextEncoder = "minilm"  # encoder of titles and genres
    # Released vectors of MicroLens instead of encoded titles: text, image, video.
    features: Distinct[Modality] = ()

    _released = rule(
        lambda data: not data.features or data.log.startswith("microlens_"),
        "{log} has no features of its authors, only MicroLens has",
    )


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
    def logs(self) -> tuple[str, ...]:
        """Names of all logs that are read, each once."""
        data = (self.data, self.cold_data, self.world_data, self.traffic_data)
        names = [found.log for found in data if found is not None] + [
            found.log for found in self.stream.sessions
        ]
        return tuple(dict.fromkeys(names))
