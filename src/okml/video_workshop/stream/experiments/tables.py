"""Tables of runs over streams: strategies, periods, ages of items, and users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.seqrec.comparison import RankedArms
from okml.seqrec.metrics import Floats, hit
from okml.seqrec.ranking import Ranks
from okml.video_workshop.stream.arms import Arm, Job, label
from okml.video_workshop.stream.prequential import per_period
from okml.video_workshop.stream.served import (
    ServedStream,
    age_slices,
    days_to_first_hit,
    days_until_found,
    found_by,
)
from okml.video_workshop.stream.study import StreamStudy

METRIC = "hr@10"
FOUND_BY = (7, 28)  # days


def compare(
    study: StreamStudy, served: ServedStream, jobs: Iterable[Job], kept: NDArray[np.bool_]
) -> RankedArms:
    """Return the ranks of runs on some of the rows."""
    compared = RankedArms(served.rows.user[kept])
    for job in jobs:
        compared.add(job.arm.name, job.seed, study.passage(job).ranks[kept])
    return compared


def strategy_table(
    study: StreamStudy, compared: RankedArms, jobs: Iterable[Job], reference: str
) -> pl.DataFrame:
    """Return a row for each arm: means over seeds, differences from a reference, update costs."""
    rows = []
    for arm in dict.fromkeys(job.arm for job in jobs):
        seeds = compared.seeds(arm.name)
        efforts = [study.passage(Job(arm, seed)).effort for seed in seeds]
        gain = compared.difference(arm.name, reference, METRIC) if arm.name != reference else None
        rows.append(
            {
                "arm": arm.name,
                "label": label(arm),
                "seeds": len(seeds),
                **{
                    name.upper(): float(
                        np.mean([compared.metric(arm.name, name, s) for s in seeds])
                    )
                    for name in ("hr@10", "ndcg@10", "mrr@10")
                },
                "difference": None if gain is None else gain.mean,
                "low": None if gain is None else gain.low,
                "high": None if gain is None else gain.high,
                "steps": round(np.mean([effort.steps for effort in efforts])),
                "samples": round(np.mean([effort.samples for effort in efforts])),
                "seconds": float(np.mean([effort.seconds for effort in efforts])),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def curves_table(study: StreamStudy, served: ServedStream, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return HR@10 of each arm and seed in each period, and the cost of earlier updates.

    Arms have different numbers of seeds, so compare arms of the same seed only.
    """
    rows = []
    for job in jobs:
        arm, seed, passage = job.arm, job.seed, study.passage(job)
        hits = hit(passage.ranks[served.drawn], 10)
        periods, means = per_period(hits, served.rows.take(served.drawn), served.stream)
        # Samples before each period.
        before = np.concatenate([[0], np.cumsum([effort.samples for effort in passage.efforts])])
        for period, mean in zip(periods, means, strict=True):
            rows.append(
                {"arm": arm.name, "label": label(arm), "seed": seed, "period": int(period),
                 "HR@10": float(mean), "samples before": int(before[period - served.first])}
            )  # fmt: skip
    return pl.DataFrame(rows)


def ages_table(study: StreamStudy, served: ServedStream, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return HR@10 by age of the target, and days to an item's first correct recommendation.

    Only rows of launched items count, so that each slice has the same items at different ages. The
    ranks among launched items exclude competition with older ones.
    """
    new = np.isin(served.targets, served.launched)
    ages = served.ages[new]
    first_week, young = next(iter(age_slices(ages).items()))
    rows = []
    for arm, seeds in _seeds(jobs).items():
        hits: list[Floats] = [hit(study.passage(Job(arm, seed)).ranks[new], 10) for seed in seeds]
        mean = np.mean(hits, axis=0)
        among = np.mean(
            [hit(study.passage(Job(arm, seed)).among[new], 10) for seed in seeds], axis=0
        )
        days = [days_to_first_hit(found > 0, ages, served.targets[new], served.launched)
                for found in hits]  # fmt: skip
        slices = {
            name: float(mean[part].mean()) if part.any() else None
            for name, part in age_slices(ages).items()
        }
        all_days = np.concatenate(days)
        rows.append(
            {
                "arm": arm.name, "label": label(arm), "seeds": len(seeds), **slices,
                "among launched": float(among.mean()),
                f"among, {first_week}": float(among[young].mean()) if young.any() else None,
                **{f"found in {age} d": found_by(all_days, age) for age in FOUND_BY},
                "found": found_by(all_days, np.inf),
                "days to a quarter": days_until_found(all_days, 0.25),
                "days to half": days_until_found(all_days, 0.5),
            }
        )  # fmt: skip
    counts = {f"n {name}": int(part.sum()) for name, part in age_slices(ages).items()}
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        **{name: pl.lit(count) for name, count in counts.items()}
    )


def found_table(study: StreamStudy, served: ServedStream, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return the share of launched items that each arm has found by each age."""
    new = np.isin(served.targets, served.launched)
    ages, rows = served.ages[new], []
    for job in jobs:
        arm, hits = job.arm, hit(study.passage(job).ranks[new], 10) > 0
        days = days_to_first_hit(hits, ages, served.targets[new], served.launched)
        for age in np.unique([0.0, *days[np.isfinite(days)], float(ages.max(initial=0))]):
            rows.append({"arm": arm.name, "label": label(arm), "age": float(age),
                         "found": float((days <= age).mean())})  # fmt: skip
    return pl.DataFrame(rows)


def users_table(study: StreamStudy, served: ServedStream, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return HR@10 of users in the base's training, of new users, and of users with few events."""
    slices = {name: part[served.drawn] for name, part in served.user_slices().items()}
    rows = []
    for arm, seeds in _seeds(jobs).items():
        mean = np.mean(
            [hit(study.passage(Job(arm, s)).ranks[served.drawn], 10) for s in seeds], axis=0
        )
        values = {n: float(mean[part].mean()) if part.any() else None for n, part in slices.items()}
        counts = {f"n {name}": int(part.sum()) for name, part in slices.items()}
        rows.append({"arm": arm.name, "label": label(arm), "seeds": len(seeds), **values, **counts})
    return pl.DataFrame(rows, infer_schema_length=None)


def _seeds(jobs: Iterable[Job]) -> dict[Arm, list[int]]:
    found: dict[Arm, list[int]] = {}
    for job in jobs:
        found.setdefault(job.arm, []).append(job.seed)
    return found


def means(columns: Mapping[str, Ranks]) -> dict[str, float]:
    """Return the mean of each metric by its name in capitals."""
    return {name.upper(): float(values.mean()) for name, values in columns.items()}
