"""Weights of a value model, learned from logs: which responses go before a return?

The idea of Wang et al. (KDD 2022): the long-term outcome itself is too late and too rare to rank
by, so find what predicts it among people who were equally active before, and rank by that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from okml.video_workshop.impressions import RESPONSES
from okml.video_workshop.rankers.value import ValueModel
from okml.video_workshop.simulator.rollout import Rollout
from okml.video_workshop.simulator.world import Floats, Ints

STRATA = 10  # deciles of activity, each with an intercept of its own
PENALTY = 1.0  # L2, of standardized rates


@dataclass(frozen=True, eq=False)
class SurrogateWeights:
    """What was learned.

    Attributes:
        frame: Columns ``response``, ``weight`` (change of the log-odds of coming back tomorrow
            by a rate that rises from 0 to 1) and ``standard_error``.
    """

    frame: pl.DataFrame

    def value_model(self) -> ValueModel:
        """Return the ranker's score with these weights."""
        return ValueModel(dict(self.frame.select("response", "weight").iter_rows()))


def learn_surrogate(log: Rollout) -> SurrogateWeights:
    """Regress coming back tomorrow on what a session was like.

    A row is a user's day in the log; its rates are mean responses an impression in all sessions so
    far, since people go by more than the last one. Users are compared with others who had come as
    often before: each decile of the share of earlier days has its own intercept.

    Args:
        log: At least two days.
    """
    rates, days, users = _user_days(log)
    tomorrow = days + 1 < len(log.active)
    rates, days, users = rates[tomorrow], days[tomorrow], users[tomorrow]
    back = log.active[days + 1, users]
    center, spread = rates.mean(0), rates.std(0).clip(1e-9)
    design = np.concatenate([(rates - center) / spread, _strata(log, days, users)], axis=1)
    model = LogisticRegression(C=1 / PENALTY, fit_intercept=False, max_iter=1000)
    model.fit(design, back)
    chance = model.predict_proba(design)[:, 1]
    # Of a penalized fit: the inverse of the curvature of what it minimizes.
    curvature = (design * (chance * (1 - chance))[:, None]).T @ design
    covariance = np.linalg.inv(curvature + PENALTY * np.eye(design.shape[1]))
    count = len(RESPONSES)
    return SurrogateWeights(
        pl.DataFrame(
            {
                "response": RESPONSES,
                "weight": model.coef_[0, :count] / spread,
                "standard_error": np.sqrt(np.diag(covariance))[:count] / spread,
            }
        )
    )


def _user_days(log: Rollout) -> tuple[Floats, Ints, Ints]:
    """Return mean responses up to each user's day, ``[n, 4]``, its day and its user."""
    shape = log.active.shape
    place = log.days * shape[1] + log.users
    names = (log.clicked, log.watched, log.liked, log.hated)
    daily = [np.bincount(place, part.mean(1), minlength=shape[0] * shape[1]) for part in names]
    summed = np.cumsum(np.reshape(daily, (len(names), *shape)), axis=1)
    requests = np.cumsum(np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape), axis=0)
    days, users = np.nonzero(log.active)
    return (summed[:, days, users] / requests[days, users]).T, days, users


def _strata(log: Rollout, days: Ints, users: Ints) -> Floats:
    """Return which decile of earlier activity each row is in, as indicators ``[n, deciles]``."""
    before = (np.cumsum(log.active, axis=0) - log.active)[days, users] / days.clip(1)
    edges = np.unique(np.quantile(before, np.linspace(0, 1, STRATA + 1)[1:-1]))
    found = np.searchsorted(edges, before, side="right")
    return np.eye(len(edges) + 1)[found]
