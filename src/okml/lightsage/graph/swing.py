"""Swing (Yang et al., 2020, arXiv 2010.05525): two users who agree on little else vouch for a pair.

s(i, j) = sum over u < v in U_i ∩ U_j of  w_u w_v / (α + |I_u ∩ I_v|),   w_u = (a + |I_u|)^-b
"""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.settings import SwingSettings


def swing(pairs: pl.DataFrame, settings: SwingSettings | None = None) -> pl.DataFrame:
    """Score items by Swing with a compiled kernel, one core an item.

    Args:
        pairs: ``user`` (Int64), ``item`` (Int32), distinct; see ``user_items``.
        settings: Formula and caps. ``SwingSettings().unbounded()`` is the formula alone.

    Returns:
        An edge frame with the column ``pairs`` (Int64), how many pairs of users are behind a score.
    """
    raise NotImplementedError
