"""Relational search edges; see ``okml.lightsage.graph.search``."""

from __future__ import annotations

import ibis
from ibis import Table, _

from okml.lightsage.graph.events import PAGES
from okml.lightsage.graph.relational.edges import rounded
from okml.lightsage.graph.settings import SearchSettings


def search_edges(log: Table, settings: SearchSettings) -> Table:
    """Return the search edges, symmetric."""
    clicks = log.filter(log.action.isin(PAGES), log.source == "search", log.episode >= 0)
    opened = clicks.group_by("episode", "item").agg(query=_.query.max())
    sized = opened.mutate(size=_.count().over(ibis.window(group_by="episode")))
    if settings.broad_query_discount:
        by_query = opened.group_by("query").agg(breadth=_.item.nunique())
        with_breadth = sized.join(by_query, "query")
        breadth = ibis.ifelse(with_breadth.query >= 0, with_breadth.breadth, with_breadth.size)
        sized = with_breadth.mutate(discount=(2 + breadth).cast("float64").ln())
    else:
        sized = sized.mutate(discount=ibis.literal(1.0))
    episodes = sized.filter(_.size.between(2, settings.most_items))
    others = episodes.select("episode", neighbor="item")
    pairs = episodes.join(others, "episode").filter(_.item != _.neighbor)
    weight = (1 / ((pairs.size - 1).cast("float64") * pairs.discount)).sum()
    return pairs.group_by("item", "neighbor").agg(weight=rounded(weight))
