"""Relational Swing; ``okml.lightsage.graph.swing`` has the formula.

The kernel's sums are joins: users of an item with each other, then with the items that two users
share. The cap on users of an item bounds the result of the first join.
"""

from __future__ import annotations

import ibis
from ibis import Table, _

from okml.lightsage.graph.capping import place
from okml.lightsage.graph.events import PAGES
from okml.lightsage.graph.relational.edges import rounded, strongest
from okml.lightsage.graph.settings import SwingSettings


def user_items(log: Table, settings: SwingSettings) -> Table:
    """Return the distinct pairs of ``user`` and ``item`` of strong actions."""
    strong = log.source.isin(settings.sources) | ~log.action.isin(PAGES)
    return log.filter(strong).select("user", "item").distinct()


def users_of(pairs: Table, settings: SwingSettings) -> Table:
    """Return ``user, n`` of the users within the bounds, with their number n of items."""
    counted = pairs.group_by("user").agg(n=_.count())
    return counted.filter(_.n.between(settings.least_user_items, settings.most_user_items))


def swing(pairs: Table, settings: SwingSettings) -> Table:
    """Score items by Swing.

    Args:
        pairs: Distinct pairs of ``user`` and ``item``.
        settings: Parameters of the formula and caps.

    Returns:
        Columns ``item, neighbor, weight, pairs``.
    """
    users = users_of(pairs, settings)
    kept = pairs.semi_join(users, "user")
    weight = (settings.user_offset + users.n.cast("float64")) ** -settings.user_power
    # Lists of items are not capped, because that would change |I_u ∩ I_v|.
    lists = kept.group_by("user").agg(items=kept.item.collect())
    lists = lists.join(users.select("user", own=weight), "user")

    by_hash = ibis.window(
        group_by="item", order_by=[place(kept.user, kept.item.cast("int64")), kept.user]
    )
    capped = (
        kept.mutate(place=ibis.row_number().over(by_hash))
        .filter(_.place < settings.most_item_users)
        .select("item", "user")
    )
    others = capped.select("item", other="user")
    met = capped.join(others, "item").filter(_.user < _.other)

    first = lists.select(user="user", items="items", own="own")
    second = lists.select(other="user", other_items="items", other_own="own")
    both = met.join(first, "user").join(second, "other")
    common = both.select(
        "item", common=both.items.intersect(both.other_items), product=both.own * both.other_own
    )
    shared = common.filter(_.common.length() >= 2)  # the item itself is one of them
    each = shared.select(
        "item",
        neighbor=shared.common.unnest(),
        score=shared.product / (settings.alpha + shared.common.length().cast("float64")),
    ).filter(_.item != _.neighbor)
    scored = each.group_by("item", "neighbor").agg(
        weight=rounded(each.score.sum()), pairs=each.count()
    )
    enough = scored.filter(_.pairs >= settings.least_pairs, _.weight >= settings.least_score)
    return strongest(enough, settings.most_neighbors)
