"""The DIGINETICA click sessions in ADER's weeks: a real log without queries or attributes.

A session is the user. There are no times, only weeks and the order of clicks; an event's time here
is its week's start plus its place in the week's file in milliseconds, so the order is right and
gaps have no meaning. The source of every click is unknown.
"""

from __future__ import annotations

import polars as pl

from okml.data import logs
from okml.errors import ParameterError
from okml.lightsage.datasets.features import of_visits, standardized
from okml.lightsage.datasets.shop_data import ShopData, item_table, page_views, split_by_time
from okml.steps import files_used

LOG = "ader_diginetica"
PERIODS = 17


def diginetica_sessions(
    train_weeks: int | None = None, seed: int = 0, features: int = 64
) -> ShopData:
    """Return the sessions: last week for test, the one before for validation, the rest to train.

    Args:
        train_weeks: Number of training periods before the validation; None: all fifteen. Items are
            those of the used periods.
        seed: Random seed of the axes of the item vectors.
        features: Dimension of the item vectors, the training sessions on their leading axes.

    Raises:
        ParameterError: If there are fewer weeks.
        DataError: If the files are not available.
    """
    most = PERIODS - 2
    if train_weeks is not None and not 1 <= train_weeks <= most:
        raise ParameterError(f"train_weeks must be 1 to {most}, not {train_weeks}.")
    log = logs.load(LOG)
    week = log.time_resolution_seconds
    first = most - (train_weeks or most)
    frame = log.frame.filter(pl.col("time") >= first * week)
    ids = frame["item"].cast(pl.Int64).unique().sort()
    events = frame.select(
        user=pl.col("user").rank("dense").cast(pl.Int64) - 1,
        session=pl.col("user").rank("dense").cast(pl.Int64) - 1,
        ts=pl.col("time") * 1000 + pl.int_range(pl.len()).over("time"),
        item=(pl.col("item").cast(pl.Int64).rank("dense") - 1).cast(pl.Int32),
    )
    windows = split_by_time(page_views(events), most * week * 1000, (most + 1) * week * 1000)
    return ShopData(
        name=LOG,
        synthetic=False,
        train=windows.train,
        valid=windows.valid,
        test=windows.test,
        items=item_table(pl.DataFrame({"id": ids.cast(pl.String)})),
        features=standardized(of_visits(windows.train, len(ids), features, seed)),
        feature_notes=f"training sessions on {features} leading axes; the data ship nothing about "
        "items",
        protocol=f"{most - first} weeks train, the next one validates, the last one tests; pairs "
        "are consecutive clicks of a session, each once; no times and no places of clicks",
        notice=log.notice,
        used=files_used(LOG),
    )
