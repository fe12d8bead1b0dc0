"""A log in KuaiRand's form with a planted world: half of the videos are bait."""

import datetime as dt

import numpy as np
import polars as pl

from okml.data.logs import IMPRESSION_SCHEMA, VIDEO_SCHEMA, ImpressionLog
from okml.video_workshop.common.data import of_impressions
from okml.video_workshop.settings.data import WatchLogSettings

USERS, ITEMS, DAYS, EACH_DAY = 60, 30, 9, 20
MIDNIGHT = 1_649_347_200_000  # 8 April 2022 in Beijing, milliseconds
BAIT = np.arange(ITEMS) % 2 == 0


def planted(seed=0):
    """Bait is clicked at 0.7 and never watched; the rest at 0.4, and then watched and liked.

    The service shows bait three times as often, but for one slot in three, which is random and
    begins on the fourth day, as random slots of KuaiRand begin two weeks after the log.
    """
    rng = np.random.default_rng(seed)
    rows = []
    weights = np.where(BAIT, 3.0, 1.0)
    for user in range(USERS):
        for day in range(DAYS):
            for turn in range(EACH_DAY):
                random = day >= 3 and rng.random() < 1 / 3
                item = (
                    rng.integers(ITEMS) if random else rng.choice(ITEMS, p=weights / weights.sum())
                )
                click = rng.random() < (0.7 if BAIT[item] else 0.4)
                long_view = click and not BAIT[item]
                rows.append(
                    {
                        "user": user, "item": int(item) + 100,
                        "time_ms": MIDNIGHT + 86_400_000 * day + 60_000 * turn + user,
                        "click": click, "long_view": long_view,
                        "like": long_view and rng.random() < 0.5,
                        "follow": False, "comment": False, "forward": False,
                        "hate": bool(BAIT[item]) and rng.random() < 0.1,
                        "play_ms": 20_000 if long_view else 8_000 * click, "duration_ms": 30_000,
                        "random": random, "surface": 1,
                    }
                )  # fmt: skip
    frame = pl.DataFrame(rows, schema=IMPRESSION_SCHEMA).sort("time_ms")
    videos = pl.DataFrame(
        [
            (100 + item, 1, False, dt.date(2022, 4, 1), 30_000, [str(item % 5)])
            for item in range(ITEMS)
        ],
        schema=VIDEO_SCHEMA,
        orient="row",
    )
    return of_impressions(
        ImpressionLog("planted", frame, videos, "a test", "CC0-1.0"), WatchLogSettings()
    )
