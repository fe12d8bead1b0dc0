"""Surrogate weights of a value model: responses that predict a user's return, from logs.

The idea of Wang et al. (KDD 2022): the long-term outcome is too delayed and too rare to rank by, so
rank by the responses that predict it among users of equal earlier activity.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from okml.ledger import Estimate, estimate_statistic
from okml.video_workshop.goals.impressions import RESPONSES
from okml.video_workshop.goals.simulator import Rollout
from okml.video_workshop.goals.world import Floats, Ints

STRATA = 10  # deciles of activity, each with its own intercept
PENALTY = 1.0  # L2 penalty on the coefficients of standardized rates


def user_days(log: Rollout) -> pl.DataFrame:
    """Return a row for each active user and day: mean responses so far and the next day's return.

    Rates are mean responses per impression over all sessions so far, because a return depends on
    more than the last one. Users are compared at equal earlier activity: ``stratum`` is the decile
    of the share of earlier days with a visit.

    Args:
        log: Log of at least two days.
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


def learn_surrogate(days: pl.DataFrame) -> pl.DataFrame:
    """Regress the next day's return on mean responses, with an intercept for each stratum.

    Args:
        days: Rows of :func:`user_days`.

    Returns:
        ``response`` and ``weight``, the change of the log-odds of a return on the next day when a
        rate rises from 0 to 1.
    """
    design, spread = _design(days)
    model = _fitted(design, days["back"].to_numpy())
    count = len(RESPONSES)
    return pl.DataFrame(
        {
            "response": RESPONSES,
            "weight": model.coef_[0, :count] / spread,
        }
    )


def surrogate_agreement(days: pl.DataFrame, response: str, worth: Mapping[int, float]) -> Estimate:
    """Return the weight of a response times the sign of its worth, over users and worlds.

    It is positive where logs tell the sign of what the response is worth.

    Args:
        days: Rows of :func:`user_days` for all seeds, with a column ``seed``; the users are the
            same with every seed.
        response: Name of the response.
        worth: True worth of the response by seed.
    """
    everybody, place = days["user"].unique().sort().to_numpy(), RESPONSES.index(response)
    prepared = {}
    for (seed,), rows in days.group_by("seed", maintain_order=True):
        design, spread = _design(rows)
        prepared[seed] = design, rows["back"].to_numpy(), rows["user"].to_numpy(), spread[place]

    def statistic(users: Ints, seed: int) -> float:
        design, back, whose, spread = prepared[seed]
        kept = np.isin(whose, everybody[users])
        weight = _fitted(design[kept], back[kept]).coef_[0, place] / spread
        return float(np.sign(worth[seed]) * weight)

    return estimate_statistic(statistic, len(everybody), "users", seeds=list(prepared))


def _design(days: pl.DataFrame) -> tuple[Floats, Floats]:
    """Return standardized rates and stratum indicators, ``[n, 4 + strata]``, and rates' spreads."""
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
    """Return the decile of earlier activity of each row, ``[n]``."""
    before = (np.cumsum(log.active, axis=0) - log.active)[days, users] / days.clip(1)
    edges = np.unique(np.quantile(before, np.linspace(0, 1, STRATA + 1)[1:-1]))
    return np.searchsorted(edges, before, side="right").astype(np.int64)  # type: ignore[no-any-return]
