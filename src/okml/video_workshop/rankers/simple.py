"""Click models without a network: click rates of items, and a logistic regression."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from okml.video_workshop.impressions import NOBODY, Impressions
from okml.video_workshop.rankers.training import Click
from okml.video_workshop.simulator.world import Floats, Ints, sigmoid

PRIOR = 20.0  # pseudo-impressions at the mean click rate
ITERATIONS = 200


def popularity(log: Impressions, items: int) -> Click:
    """Return the click rate of each item, shrunk toward the mean."""
    shown = np.bincount(log.items.ravel(), minlength=items)
    clicked = np.bincount(log.items.ravel(), log.clicked.ravel(), minlength=items)
    chance = (clicked + PRIOR * log.clicked.mean()) / (shown + PRIOR)
    return lambda users, shown_items, recent: chance[shown_items]


def content_regression(log: Impressions, features: Floats) -> Click:
    """Return a logistic regression on an item's content and on its product with recent clicks.

    Args:
        log: Impressions to fit.
        features: Item features of variance one, ``[i, c]``.
    """
    own, taste = features[log.items], _taste(features, log.recent.astype(np.int64))
    read = np.concatenate([own, own * taste[:, None]], axis=2)
    model = LogisticRegression(max_iter=ITERATIONS)
    model.fit(read.reshape(-1, read.shape[-1]), log.clicked.ravel())
    of_item, of_product = np.split(model.coef_[0], 2)

    def click(users: Ints, items: Ints, recent: Ints) -> Floats:
        logits = (of_item + of_product * _taste(features, recent)) @ features.T  # [n, i]
        return sigmoid(np.take_along_axis(logits, items, 1) + model.intercept_[0])

    return click


def _taste(features: Floats, recent: Ints) -> Floats:
    """Return the mean content of the items clicked last, ``[n, c]``."""
    there = recent != NOBODY
    summed = np.einsum("nt,ntc->nc", there, features[recent])
    found: Floats = summed / there.sum(1, keepdims=True).clip(1)
    return found
