"""A little world for the tests of simulator, rankers and policies; nothing is read from disk."""

import numpy as np
import polars as pl

from okml.seqrec.interactions import Interactions
from okml.video_workshop.common.data import Watched
from okml.video_workshop.goals.world import build_world
from okml.video_workshop.settings.goals import VideoSimSettings, WorthSettings

USERS, ITEMS, WIDTH = 80, 160, 8
WORTH = WorthSettings(watch=(1, 1), click=(-0.45, -0.45), like=(0.5, 0.5), hate=(-2, -2))
SETTINGS = VideoSimSettings(
    worth=WORTH,
    weariness=0.3,
    components=4,
    candidates=40,
    slate=5,
    recent=6,
    log_days=3,
    days=12,
)


def watched(seed=0):
    """Ratings that follow tastes for content and a quality of their own."""
    rng = np.random.default_rng(seed)
    content = rng.standard_normal((ITEMS, WIDTH))
    taste, quality = rng.standard_normal((USERS, WIDTH)), rng.standard_normal(ITEMS)
    user, item = np.nonzero(rng.random((USERS, ITEMS)) < 0.3)
    stars = 3 + quality[item] + (taste[user] * content[item]).sum(1) / WIDTH**0.5
    frame = pl.DataFrame(
        {
            "user": user.astype(str),
            "item": item.astype(str),
            "time": np.arange(len(user)),
            "value": stars.round().clip(1, 5).astype(np.float32),
        }
    )
    interactions = Interactions.from_frame(frame)
    films = pl.DataFrame({"item": interactions.item_ids})
    return Watched(interactions, np.ones(len(user), dtype=np.int64), films), content


def world(settings=SETTINGS, seed=2):
    return build_world(*watched(), settings, seed)
