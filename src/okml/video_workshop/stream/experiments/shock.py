"""E6: recovery of update strategies from a sudden shift of users' taste."""

from __future__ import annotations

import polars as pl

from okml.seqrec.metrics import hit
from okml.steps import StepResult
from okml.video_workshop.stream.arms import (
    RETRAINED_SHOCK,
    STALE_SHOCK,
    UPDATED_SHOCK,
    label,
    shock_jobs,
)
from okml.video_workshop.stream.prequential import per_period
from okml.video_workshop.stream.served import windows_until
from okml.video_workshop.stream.study import StreamStudy

RECOVERED = 0.95  # share of the value before a shock
_SHOCK = {"arm": pl.String, "label": pl.String, "period": pl.Int64, "shocked": pl.Boolean,
          "HR@10": pl.Float64, "lead": pl.Float64}  # fmt: skip

_RECOVERY = {"arm": pl.String, "label": pl.String, "HR@10 before": pl.Float64,
             "HR@10 after": pl.Float64, "lead before": pl.Float64, "lead after": pl.Float64,
             "windows to the old lead": pl.Int64, "windows to the old HR@10": pl.Int64}  # fmt: skip


def measure_shock(study: StreamStudy) -> StepResult:
    """Measure after how many periods each strategy recovers from a shift of taste.

    Recovery is a lead over the stale model of 95 % of the lead that retraining had before the
    shock. If that lead was small it says little, so the periods until HR@10 is back at 95 % of its
    earlier value are given as well.
    """
    study.run_all()
    result = StepResult()
    curves, recovery = [], []
    if (shock := study.settings.weekly.shock) is not None:
        served = study.served(shock=True)
        drawn = served.rows.take(served.drawn)
        hits = {
            job.arm: hit(study.passage(job).ranks[served.drawn], 10)
            for job in shock_jobs(study.profile)
        }
        after = served.period[served.drawn] >= shock.period
        left_alone = hits[STALE_SHOCK]
        gap = float((hits[RETRAINED_SHOCK] - left_alone)[~after].mean())
        for arm, found in hits.items():
            periods, values = per_period(found, drawn, served.stream)
            _, leads = per_period(found - left_alone, drawn, served.stream)
            late = periods >= shock.period
            named = {"arm": arm.name, "label": label(arm)}
            curves += [
                {**named, "period": int(period), "shocked": bool(period >= shock.period),
                 "HR@10": float(value), "lead": float(lead)}
                for period, value, lead in zip(periods, values, leads, strict=True)
            ]  # fmt: skip
            recovery.append(
                {
                    **named,
                    "HR@10 before": float(found[~after].mean()),
                    "HR@10 after": float(found[after].mean()),
                    "lead before": float((found - left_alone)[~after].mean()),
                    "lead after": float((found - left_alone)[after].mean()),
                    "windows to the old lead": (
                        windows_until(leads[late], RECOVERED * gap) if gap > 0 else None
                    ),
                    "windows to the old HR@10": windows_until(
                        values[late], RECOVERED * float(found[~after].mean())
                    ),
                }
            )
        lead = hits[UPDATED_SHOCK] - left_alone
        result.log("shock_updated_lead_before", float(lead[~after].mean()))
        result.log("shock_updated_lead_after", float(lead[after].mean()))
    result.frames["shock"] = pl.DataFrame(curves, schema=_SHOCK)
    result.frames["recovery"] = pl.DataFrame(recovery, schema=_RECOVERY)
    return result
