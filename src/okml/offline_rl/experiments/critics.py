"""The fit of the critics, on which every comparison by their advantages rests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import Estimate, estimate_over_seeds, estimate_statistic
from okml.offline_rl.arms import ARMS, CriticJob, Job
from okml.offline_rl.fitting import ERROR, returns_of, split_users, values_of
from okml.offline_rl.settings import LogSettings, OfflineRLProfile
from okml.offline_rl.study import Study
from okml.seqrec.convergence import FITTED, FLAT, LEAST, TENTH
from okml.seqrec.interactions import Ints
from okml.seqrec.metrics import Floats
from okml.steps import StepResult
from okml.training import History

BINS = 10  # groups of rows by value, in the table of calibration


class Judged(NamedTuple):
    """Rows of users whom no fit of a seed has seen, and what is said of their returns, ``[r]``."""

    returns: Floats  # the discounted return from each row's action on
    users: NDArray[np.int32]
    values: Floats  # Q of critics of temporal differences
    regressed: Floats  # the predictions of the regression on returns

    def statistic(self, name: str, rows: Ints) -> float:
        """Return a statistic of some rows: ``correlation``, ``correlation_share`` or ``scale``."""
        values, returns = self.values[rows], self.returns[rows]
        if name == "scale":
            return _scale(values, returns)
        found = _correlation(values, returns)
        if name == "correlation":
            return found
        return found / _correlation(self.regressed[rows], returns)


def measure_critics(study: Study) -> StepResult:
    """Compare values with the returns of users whom no fit has seen, on every log."""
    profile, result = study.profile, StepResult()
    fits: list[dict[str, object]] = []
    bins: list[pl.DataFrame] = []
    for settings in (*profile.datasets, profile.funnel):
        by_seed = {seed: _judge(study, settings, seed, fits) for seed in profile.seeds}
        bins.append(_calibration(settings, by_seed[profile.seeds[0]]))
        for prefix, log in (("critic", profile.main), ("simulator_critic", profile.funnel)):
            if settings == log:
                for statistic in ("correlation", "correlation_share", "scale"):
                    estimate = _estimate(by_seed, statistic, settings.is_real)
                    result.measure(f"{prefix}_{statistic}", estimate)
                unfinished = sum(not finished(study, job) for job in _kinds(profile, settings))
                result.log(f"{prefix}_unfinished", unfinished, exact=True)
    result.frames["fits"] = pl.DataFrame(fits, infer_schema_length=None)
    result.frames["calibration"] = pl.concat(bins)
    return result


def _kinds(profile: OfflineRLProfile, settings: LogSettings) -> list[CriticJob]:
    """Return the fits whose rates were searched on a log, with the first seed.

    These are temporal differences, the regression, and the critic without a future if an arm has
    it.
    """
    in_shop = settings == profile.funnel
    arms = profile.funnel_arms if in_shop else (*profile.arms, *profile.main_arms)
    choosers = [
        Job(settings, name, profile.seeds[0]).critics.chooser(profile)
        for name in ("crr", *arms)
        if ARMS[name].method == "crr"
    ]
    first, *others = dict.fromkeys(choosers)
    return [first, replace(first, on_returns=True), *others]


def finished(study: Study, job: CriticJob) -> bool:
    """Tell whether neither more epochs nor a rate beyond those tried may make a fit better."""
    tried = study.tried_fits(job)[study.best_fit(job)[1]]
    histories = [study.train(replace(job, seed=seed)).history for seed in study.profile.seeds]
    return tried.bracketed and not still_falling(histories)


def still_falling(fits: Sequence[History]) -> bool:
    """Tell whether fits ended before the error of held-out returns was flat.

    As in :func:`okml.seqrec.convergence.still_rising`, a line through the last third of the steps
    is meant: on average over the fits it fell by more than a hundredth in the last tenth. The fall
    of a fit that early stopping ended counts as zero.
    """
    falls, errors = [], []
    for history in fits:
        rows = history.frame.select("step", ERROR).drop_nulls()
        steps, error = rows["step"].to_numpy(), rows[ERROR].to_numpy()
        errors.append(error.min())
        count = max(LEAST, int((steps > (1 - FITTED) * history.steps).sum()))
        if history.stopped_by == "early_stopping":
            falls.append(0.0)
        elif len(steps) < LEAST:
            return True  # nothing tells that it is flat
        else:
            falls.append(-np.polyfit(steps[-count:], error[-count:], 1)[0] * TENTH * history.steps)
    return bool(sum(falls) > FLAT * sum(errors))


def _judge(study: Study, settings: LogSettings, seed: int, fits: list[dict[str, object]]) -> Judged:
    """Return what both fits of a seed say of the rows that judge them; add a row for each fit.

    Critics without a future, which are held against rewards, and those of stages 1 that were
    stopped early get a row, too.
    """
    profile, data = study.profile, study.data(settings, seed)
    rows = split_users(data).judged
    early = profile.start_epochs if settings == profile.main else ()
    said = []
    for job in (
        *(replace(kind, seed=seed) for kind in _kinds(profile, settings)),
        *(CriticJob(settings, seed, epochs) for epochs in early),
    ):
        fit = study.train(job)
        returns = returns_of(job, data)[rows.end].astype(np.float64)
        values = values_of(fit.critics, data, rows, profile.evaluation_batch)
        said.append(values)
        fits.append(
            {
                "data": settings.log,
                "fit": "regression on returns" if job.on_returns else "temporal differences",
                "discount": dict(job.changes).get("gamma", data.gamma),
                "epochs of stage 1": job.stage1_epochs or settings.stage1.epochs,
                "seed": seed,
                "learning rate": fit.rate,
                "steps between copies": fit.copies,
                "epochs": fit.history.frame["epoch"][-1],
                "correlation with the return": _correlation(values, returns),
                "scale": _scale(values, returns),
                "error": float(np.mean((values - returns) ** 2)),
                "finished": finished(study, job),
            }
        )
    discounted = data.episodes.returns[rows.end].astype(np.float64)
    return Judged(discounted, rows.user, *said[:2])


def _estimate(by_seed: dict[int, Judged], name: str, shared: bool) -> Estimate:
    """Return a statistic with its interval over users and seeds.

    All seeds judge the same rows if they are ``shared``; else each seed has a log of its own.
    """
    if not shared:
        found = {
            seed: judged.statistic(name, np.arange(len(judged.returns)))
            for seed, judged in by_seed.items()
        }
        users = sum(len(np.unique(judged.users)) for judged in by_seed.values())
        return estimate_over_seeds(found, n=users, over="users")
    first = next(iter(by_seed.values()))
    return estimate_statistic(
        lambda rows, seed: by_seed[seed].statistic(name, rows),
        len(first.returns),
        "users",
        seeds=list(by_seed),
        clusters=first.users,
    )


def _correlation(values: Floats, returns: Floats) -> float:
    return float(np.corrcoef(values, returns)[0, 1])


def _scale(values: Floats, returns: Floats) -> float:
    return float(values.mean() / returns.mean())


def _calibration(settings: LogSettings, judged: Judged) -> pl.DataFrame:
    """Return mean value and mean return of groups of rows with similar values."""
    frame = pl.DataFrame({"value": judged.values, "return": judged.returns})
    group = (pl.col("value").rank("ordinal") - 1) * BINS // pl.len()
    return (
        frame.group_by(group.alias("group"))
        .agg(pl.col("value").mean(), pl.col("return").mean(), pl.len().alias("rows"))
        .sort("group")
        .select(pl.lit(settings.log).alias("data"), pl.all())
    )
