"""Weights of a value model, learned from logs: which responses go before a return?

The idea of Wang et al. (KDD 2022): the long-term outcome itself is too late and too rare to rank
by, so find what predicts it among people who were equally active before, and rank by that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from okml.ledger import Estimate, estimate_statistic
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


def user_days(log: Rollout) -> pl.DataFrame:
    """Return a row a user's day of a log: what the user had until then, and who came tomorrow.

    Rates are mean responses an impression in all sessions so far, since people go by more than the
    last one. Users are compared with others who had come as often before: ``stratum`` is the decile
    of the share of earlier days.

    Args:
        log: At least two days.
    """
    rates, days, users = _user_days(log)
    tomorrow = days + 1 < len(log.active)
    rates, days, users = rates[tomorrow], days[tomorrow], users[tomorrow]
    frame = pl.DataFrame(rates, schema=list(RESPONSES))
    return frame.with_columns(
        pl.Series("user", users),
        pl.Series("stratum", _strata(log, days, users)),
        pl.Series("back", log.active[days + 1, users]),
    )


def learn_surrogate(days: pl.DataFrame) -> SurrogateWeights:
    """Regress coming back tomorrow on what sessions were like, with an intercept a stratum.

    Args:
        days: From :func:`user_days`.
    """
    design, spread = _design(days)
    model = _fitted(design, days["back"].to_numpy())
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


def surrogate_weight(days: pl.DataFrame, response: str) -> Estimate:
    """Return the weight of a response with its interval over users and seeds.

    Args:
        days: From :func:`user_days`, those of all seeds, with a column ``seed``; the users are the
            same with every seed.
        response: Whose.
    """
    everybody, place = days["user"].unique().sort().to_numpy(), RESPONSES.index(response)
    prepared = {}
    for (seed,), rows in days.group_by("seed", maintain_order=True):
        design, spread = _design(rows)
        prepared[seed] = design, rows["back"].to_numpy(), rows["user"].to_numpy(), spread[place]

    def statistic(users: Ints, seed: int) -> float:
        design, back, whose, spread = prepared[seed]
        kept = np.isin(whose, everybody[users])
        return float(_fitted(design[kept], back[kept]).coef_[0, place] / spread)

    return estimate_statistic(statistic, len(everybody), "users", seeds=list(prepared))


def _design(days: pl.DataFrame) -> tuple[Floats, Floats]:
    """Return standardized rates and an indicator a stratum, ``[n, 4 + strata]``, and spreads."""
    rates, stratum = days.select(RESPONSES).to_numpy(), days["stratum"].to_numpy()
    spread = rates.std(0).clip(1e-9)
    return np.concatenate(
        [(rates - rates.mean(0)) / spread, np.eye(stratum.max() + 1)[stratum]], axis=1
    ), spread


def _fitted(design: Floats, back: NDArray[np.bool_]) -> LogisticRegression:
    model = LogisticRegression(C=1 / PENALTY, fit_intercept=False, max_iter=1000)
    return model.fit(design, back)


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


def _strata(log: Rollout, days: Ints, users: Ints) -> Ints:
    """Return which decile of earlier activity each row is in, ``[n]``."""
    before = (np.cumsum(log.active, axis=0) - log.active)[days, users] / days.clip(1)
    edges = np.unique(np.quantile(before, np.linspace(0, 1, STRATA + 1)[1:-1]))
    return np.searchsorted(edges, before, side="right").astype(np.int64)
