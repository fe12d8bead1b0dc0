"""Interest journeys: a user's liked items grouped by the prefix of their codes.

Google's interest journeys (arXiv 2305.15498) cluster a user's history one by one and let a
language model name the clusters. Here Semantic IDs group items and genres name the groups, to
illustrate the meaning of codes; this is no reproduction.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from okml.video_workshop.data import Watched
from okml.video_workshop.items.quantization import Codes


def interests(watched: Watched, codes: Codes, user: int, shared: int = 1) -> pl.DataFrame:
    """Return a row for each group of liked items, in descending order of size.

    Args:
        watched: Event log with titles and genres.
        codes: Codes of all items, ``[items + 1, L]``.
        user: Number of the user.
        shared: Length of the code prefix that the items of a group share.

    Returns:
        ``codes``, ``named by`` (its most frequent genres), ``liked`` items and three ``examples``.
    """
    log = watched.interactions
    events = slice(log.offsets[user], log.offsets[user + 1])
    liked = log.items[events][watched.liked[events]].astype(np.int64)
    groups: dict[tuple[int, ...], list[int]] = {}
    for item, code in zip(liked.tolist(), codes[liked, :shared].tolist(), strict=True):
        groups.setdefault(tuple(code), []).append(item)
    titles, genres = watched.films["title"], watched.films["genres"].fill_null([])
    rows = []
    for code, items in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        count = Counter(genre for item in items for genre in genres[item - 1])
        rows.append(
            {
                "codes": " ".join(map(str, code)),
                "named by": ", ".join(name for name, _ in count.most_common(2)),
                "liked": len(items),
                "examples": "; ".join(str(titles[item - 1]) for item in items[:3]),
            }
        )
    return pl.DataFrame(rows)


def busiest(watched: Watched) -> int:
    """Return the user with the most liked items."""
    liked = np.bincount(watched.interactions.users(), weights=watched.liked)
    return int(liked.argmax())
