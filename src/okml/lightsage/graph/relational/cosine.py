"""Relational cosine collaborative filtering; see ``okml.lightsage.graph.cosine``."""

from __future__ import annotations

from ibis import Table, _

from okml.lightsage.graph.relational.edges import rounded, strongest
from okml.lightsage.graph.relational.swing import users_of
from okml.lightsage.graph.settings import SwingSettings


def cosine(pairs: Table, settings: SwingSettings) -> Table:
    """Score items by cosine.

    Args:
        pairs: Distinct pairs of ``user`` and ``item``.
        settings: Filter of users, least support, and number of neighbors of an item.
    """
    kept = pairs.semi_join(users_of(pairs, settings), "user")
    users = kept.group_by("item").agg(n=_.count())
    others = kept.select("user", neighbor="item")
    common = (
        kept.join(others, "user")
        .filter(_.item != _.neighbor)
        .group_by("item", "neighbor")
        .agg(common=_.count())
        .filter(_.common * (_.common - 1) >= 2 * settings.least_pairs)
    )
    sized = common.join(users, "item").join(users.select(neighbor="item", other_n="n"), "neighbor")
    weight = sized.common / (sized.n.cast("float64") * sized.other_n.cast("float64")).sqrt()
    scored = sized.select("item", "neighbor", weight=rounded(weight))
    return strongest(scored, settings.most_neighbors)
