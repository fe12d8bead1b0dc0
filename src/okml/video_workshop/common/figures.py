"""The diagram of the chapter's parts; the one that the digest mentions is not available."""

from __future__ import annotations

from okml.plotting import PALETTE, Box, Picture, diagram

# Items, users, goals and freshness have a row and a color each.
ITEMS, USERS, GOALS, STREAM = PALETTE[:4]
BOXES: dict[str, Box] = {
    "content": (0, 3, "content of an item\ntext, cover, sound, film", ITEMS),
    "encoder": (1.15, 3, "encoder\nof modalities", ITEMS),
    "quantizer": (2.2, 3, "residual\nquantizer", ITEMS),
    "table": (3.3, 3, "codes, rows,\nevidence gate", ITEMS),
    "item": (4.4, 3, "item vector e", ITEMS),
    "events": (0, 2, "events of a user\nitem, action, gap, hour", USERS),
    "tokens": (1.15, 2, "a token\nan event", USERS),
    "transformer": (2.2, 2, "causal\ntransformer", USERS),
    "user": (3.3, 2, "vector h of\nthe user", USERS),
    "heads": (4.4, 2, "pre-training:\nnext item, action,\nfurther items, genre", USERS),
    "retrieval": (1.15, 1, "retrieval,\nrelated items", GOALS),
    "ranker": (2.55, 1, "ranking: several goals\nMMoE", GOALS),
    "policy": (4.0, 1, "policies: top-K REINFORCE,\nconstrained actor-critic", GOALS),
    "stream": (0, 0, "stream of events\nperiod by period", STREAM),
    "serve": (1.3, 0, "serve a copy,\njudge it", STREAM),
    "update": (2.6, 0, "then update: replay,\ndistillation, retraining", STREAM),
}

ARROWS = (
    ("content", "encoder"), ("encoder", "quantizer"), ("quantizer", "table"), ("table", "item"),
    ("events", "tokens"), ("tokens", "transformer"), ("transformer", "user"), ("user", "heads"),
    ("item", "heads"), ("user", "retrieval"), ("user", "ranker"), ("user", "policy"),
    ("stream", "serve"), ("serve", "update"),
)  # fmt: skip


def scheme() -> Picture:
    """Draw the parts of the chapter, one row for each theme."""
    return diagram(
        BOXES,
        ARROWS,
        "Four rows. Items: content passes an encoder and a residual quantizer, whose codes choose "
        "rows of a table; a gate makes the item vector. Users: events become tokens of a causal "
        "transformer, whose user vector is pre-trained on next items, actions and genres. "
        "Goals: retrieval, multi-task ranking and policies stand on both vectors. Freshness: a "
        "stream is served, judged and only then learned from.",
        height=4.6,
        xlim=(-0.6, 5.05),
        ylim=(-0.5, 3.5),
    )
