"""The memory of embedding tables, computed from their sizes alone."""

from __future__ import annotations

import polars as pl

FLOAT = 4  # bytes
H100 = 80e9  # bytes
TRAINED = 4  # numbers per weight: itself, its gradient, two moments


TABLES = (  # name, rows, width
    ("a row a video, 1e9 videos (YouTube's scale)", 10**9, 256),
    ("a row a token, 1e5 tokens (a language model)", 10**5, 4096),
    ("Semantic ID, unigrams: 8 levels of 2,048", 8 * 2048, 256),
    ("Semantic ID, pairs: 4 tables of 2,048 squared", 4 * 2048**2, 256),
    ("quotient and remainder of 2^48 ids (Monolith's baseline)", 2**25, 256),
    ("a row a video of KuaiRand-27K", 32_038_725, 128),
)


def memory_table() -> pl.DataFrame:
    """Return a row for each table: rows, width, and decimal gigabytes in float32.

    ``weights``; ``with Adam`` (two moments per weight); ``with row-wise Adagrad`` (one number per
    row); ``to train`` by :mod:`okml.video_workshop.common.spread_rows`, which holds a gradient
    beside Adam's moments (a test measures the bytes of a row); and the GPUs of 80 GB for that.
    """
    frame = pl.DataFrame(TABLES, schema=["table", "rows", "width"], orient="row")
    weights = pl.col("rows") * pl.col("width") * FLOAT
    return frame.with_columns(
        weights=weights / 1e9,
        adam=3 * weights / 1e9,
        adagrad=(weights + pl.col("rows") * FLOAT) / 1e9,
        trained=TRAINED * weights / 1e9,
        gpus=(TRAINED * weights / H100).ceil().cast(pl.Int64),
    ).rename(
        {
            "weights": "weights, GB",
            "adam": "with Adam, GB",
            "adagrad": "with row-wise Adagrad, GB",
            "trained": "to train, GB",
            "gpus": "GPUs of 80 GB to train",
        }
    )
