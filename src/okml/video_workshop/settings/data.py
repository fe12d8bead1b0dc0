"""The log of the chapter and the content features of its items."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from okml.data.logs import SIGNALS, impression_names, names
from okml.data.logs.microlens import Modality
from okml.seqrec.interactions import TieRule
from okml.settings import Count, Distinct, Settings, Whole, one_of, rule

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


class WatchLogSettings(Settings):
    """The log of the chapter and the content features of its items."""

    log: WatchedName = "ml_100k"
    users: Count | None = Field(default=None, ge=50)  # drawn at random; None: all
    # An item joins the catalog with its event of this number; earlier ones are left out. None: no
    # filter.
    least_item_events: Count | None = None
    # Order of a user's events of one second, where the log has no finer clock. All seeds of a run
    # share a draw: orders of users are independent, so an interval over users includes it.
    tie_rule: TieRule = "random"
    tie_seed: Whole = 0
    text: TextEncoder = "minilm"  # encoder of titles and genres
    # Released vectors of MicroLens instead of encoded titles: text, image, video.
    features: Distinct[Modality] = ()

    _released = rule(
        lambda data: not data.features or data.log.startswith("microlens_"),
        "{log} has no features of its authors, only MicroLens has",
    )
