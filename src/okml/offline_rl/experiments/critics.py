"""How well critics are fitted, before anything is said of what they advise."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import Estimate, estimate_statistic
from okml.offline_rl.arms import critic_jobs
from okml.offline_rl.fitting import split_users, values_of
from okml.offline_rl.settings import LogSettings
from okml.offline_rl.study import Study
from okml.seqrec.interactions import Ints
from okml.seqrec.metrics import Floats
from okml.steps import StepResult

BINS = 10  # groups of rows by value, in the table of calibration


def measure_critics(study: Study) -> StepResult:
    """Compare values with the returns of users whom no fit has seen, on every log."""
    profile, result = study.profile, StepResult()
    fits: list[dict[str, object]] = []
    bins: list[pl.DataFrame] = []
    for settings in (*profile.datasets, profile.funnel):
        judged = split_users(study.data(settings)).judged
        returns = study.data(settings).episodes.returns[judged.end].astype(np.float64)
        values: dict[bool, dict[int, Floats]] = {True: {}, False: {}}
        for job in critic_jobs(profile, settings):
            fit = study.train(job)
            found = values_of(fit.critics, study.data(settings), judged, profile.evaluation_batch)
            values[job.on_returns][job.seed] = found
            fits.append(
                {
                    "data": settings.log,
                    "fit": "regression on returns" if job.on_returns else "temporal differences",
                    "seed": job.seed,
                    "learning rate": fit.rate,
                    "steps between copies": fit.copies,
                    "epochs": fit.history.frame["epoch"][-1],
                    "correlation with the return": _correlation(found, returns),
                    "scale": _scale(found, returns),
                    "error": float(np.mean((found - returns) ** 2)),
                }
            )
        bins.append(_calibration(settings, values[False][profile.seeds[0]], returns))
        for prefix, log in (("critic", profile.main), ("simulator_critic", profile.funnel)):
            if settings == log:
                _measure(result, prefix, values[False], values[True], returns, judged.user)
    result.frames["fits"] = pl.DataFrame(fits, infer_schema_length=None)
    result.frames["calibration"] = pl.concat(bins)
    return result


def _measure(
    result: StepResult,
    prefix: str,
    fitted: dict[int, Floats],
    regressed: dict[int, Floats],
    returns: Floats,
    users: NDArray[np.int32],
) -> None:
    """Measure the fit of a log's critics, with intervals over users and seeds.

    Args:
        result: The result of the step, which gets the metrics.
        prefix: The start of the metrics' names.
        fitted: The values of the critics, ``[r]``, by seed.
        regressed: The predictions of regression on returns, ``[r]``, by seed.
        returns: The returns, ``[r]``.
        users: The user of each row, ``[r]``.
    """

    def over_users(statistic: str) -> Estimate:
        def of(rows: Ints, seed: int) -> float:
            own = fitted[seed][rows]
            if statistic == "scale":
                return _scale(own, returns[rows])
            found = _correlation(own, returns[rows])
            if statistic == "correlation":
                return found
            return found / _correlation(regressed[seed][rows], returns[rows])

        seeds = list(fitted)
        return estimate_statistic(of, len(returns), "users", seeds=seeds, clusters=users)

    for statistic in ("correlation", "correlation_share", "scale"):
        result.measure(f"{prefix}_{statistic}", over_users(statistic))


def _correlation(values: Floats, returns: Floats) -> float:
    return float(np.corrcoef(values, returns)[0, 1])


def _scale(values: Floats, returns: Floats) -> float:
    return float(values.mean() / returns.mean())


def _calibration(settings: LogSettings, values: Floats, returns: Floats) -> pl.DataFrame:
    """Return mean value and mean return of groups of rows with similar values."""
    frame = pl.DataFrame({"value": values, "return": returns})
    group = (pl.col("value").rank("ordinal") - 1) * BINS // pl.len()
    return (
        frame.group_by(group.alias("group"))
        .agg(pl.col("value").mean(), pl.col("return").mean(), pl.len().alias("rows"))
        .sort("group")
        .select(pl.lit(settings.log).alias("data"), pl.all())
    )
