"""Edges: ``item`` (Int32), ``neighbor`` (Int32), ``weight`` (Float64); directed, one row a pair.

Row ``i, j, w`` says that j is worth showing to someone on the page of i. Frames are sorted by item,
then by weight from high to low, then by neighbor, so equal edges make equal frames.
"""

from __future__ import annotations

import polars as pl

EDGE_SCHEMA = pl.Schema({"item": pl.Int32(), "neighbor": pl.Int32(), "weight": pl.Float64()})
