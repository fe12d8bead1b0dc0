"""Tables of runs over streams: strategies, periods, ages of items, and users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.seqrec.comparison import RankedArms
from okml.seqrec.metrics import Floats, hit
from okml.seqrec.ranking import Ranks
from okml.video_workshop.items.arms import LABELS as TABLES
from okml.video_workshop.stream.arms import CONTENT_TABLES, LABELS, Arm
from okml.video_workshop.stream.prequential import per_period
from okml.video_workshop.stream.runs import Job, StreamRuns
from okml.video_workshop.stream.worlds import (
    World,
    age_slices,
    days_to_first_hit,
    days_until_found,
    found_by,
)
from okml.video_workshop.study import Study

METRIC = "hr@10"

FOUND_BY = (7, 28)  # days

_FIRST_ROWS = {"random": "random", "mean_noise": "the mean", "content_knn": "like content"}


def compare(
    study: Study, runs: StreamRuns, world: World, jobs: Iterable[Job], kept: NDArray[np.bool_]
) -> RankedArms:
    """Return the ranks of runs on some of the rows."""
    compared = RankedArms(world.rows.user[kept])
    for job in jobs:
        compared.add(job.arm.name, job.seed, runs.passage(*job).ranks[kept])
    return compared


def strategy_table(
    runs: StreamRuns, compared: RankedArms, jobs: Iterable[Job], reference: str
) -> pl.DataFrame:
    """Return a row for each arm: means over seeds, differences from a reference, update costs."""
    rows = []
    for arm in dict.fromkeys(job.arm for job in jobs):
        seeds = compared.seeds(arm.name)
        efforts = [runs.passage(arm, seed).effort for seed in seeds]
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
                "CPU s": float(np.mean([effort.seconds for effort in efforts])),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def label(arm: Arm) -> str:
    """Return the label of an arm in figures."""
    text = LABELS[arm.strategy]
    if arm.model == "factorization":
        text = f"user rows, {text}"
    if arm.model == "expiring":
        text = f"{text}, rows expire"
    if arm.model in CONTENT_TABLES:
        text = f"{TABLES[arm.model].partition(',')[0]}, {text}"
    if arm.new_rows is not None:
        text = f"{text}, first rows: {_FIRST_ROWS[arm.new_rows]}"
    if arm.batch is not None:
        text = f"{text}, {arm.batch} windows a step"
    return text if arm.shards == 1 else f"{text} {arm.shards:g} times a period"


def curves_table(world: World, runs: StreamRuns, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return HR@10 of each arm and seed in each period, and the cost of earlier updates.

    Arms have different numbers of seeds, so compare arms of the same seed only.
    """
    rows = []
    for arm, seed in jobs:
        passage = runs.passage(arm, seed)
        hits = hit(passage.ranks[world.drawn], 10)
        periods, means = per_period(hits, world.rows.take(world.drawn), world.stream)
        # Samples before each period.
        before = np.concatenate([[0], np.cumsum([effort.samples for effort in passage.efforts])])
        for period, mean in zip(periods, means, strict=True):
            rows.append(
                {"arm": arm.name, "label": label(arm), "seed": seed, "period": int(period),
                 "HR@10": float(mean), "samples before": int(before[period - world.first])}
            )  # fmt: skip
    return pl.DataFrame(rows)


def ages_table(world: World, runs: StreamRuns, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return HR@10 by age of the target, and days to an item's first correct recommendation.

    Only rows of launched items count, so that each slice has the same items at different ages. The
    ranks among launched items exclude competition with older ones.
    """
    new = np.isin(world.targets, world.launched)
    ages = world.ages[new]
    first_week, young = next(iter(age_slices(ages).items()))
    rows = []
    for arm, seeds in _seeds(jobs).items():
        hits: list[Floats] = [hit(runs.passage(arm, seed).ranks[new], 10) for seed in seeds]
        mean = np.mean(hits, axis=0)
        among = np.mean([hit(runs.passage(arm, seed).among[new], 10) for seed in seeds], axis=0)
        days = [days_to_first_hit(found > 0, ages, world.targets[new], world.launched)
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


def found_table(world: World, runs: StreamRuns, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return the share of launched items that each arm has found by each age."""
    new = np.isin(world.targets, world.launched)
    ages, rows = world.ages[new], []
    for arm, seed in jobs:
        hits = hit(runs.passage(arm, seed).ranks[new], 10) > 0
        days = days_to_first_hit(hits, ages, world.targets[new], world.launched)
        for age in np.unique([0.0, *days[np.isfinite(days)], float(ages.max(initial=0))]):
            rows.append({"arm": arm.name, "label": label(arm), "age": float(age),
                         "found": float((days <= age).mean())})  # fmt: skip
    return pl.DataFrame(rows)


def users_table(world: World, runs: StreamRuns, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return HR@10 of users in the base's training, of new users, and of users with few events."""
    slices = {name: part[world.drawn] for name, part in world.user_slices().items()}
    rows = []
    for arm, seeds in _seeds(jobs).items():
        mean = np.mean([hit(runs.passage(arm, s).ranks[world.drawn], 10) for s in seeds], axis=0)
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
