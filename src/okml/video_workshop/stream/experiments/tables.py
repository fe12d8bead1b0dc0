"""Tables of runs over streams: strategies, periods, and users."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.seqrec.comparison import RankedArms
from okml.seqrec.metrics import Floats, hit
from okml.video_workshop.common.intervals import interval
from okml.video_workshop.stream.arms import FIXED, StreamArm, StreamJob
from okml.video_workshop.stream.prequential import per_period
from okml.video_workshop.stream.served import ServedStream
from okml.video_workshop.stream.study import StreamStudy

METRIC = "hr@10"


def compare(
    study: StreamStudy, served: ServedStream, jobs: Iterable[StreamJob], kept: NDArray[np.bool_]
) -> RankedArms:
    """Return the ranks of runs on some of the rows."""
    compared = RankedArms(served.rows.user[kept])
    for job in jobs:
        compared.add(job.arm.name, job.seed, study.passage(job).ranks[kept])
    return compared


def strategy_table(
    study: StreamStudy, compared: RankedArms, jobs: Iterable[StreamJob], reference: str
) -> pl.DataFrame:
    """Return a row for each arm: means over seeds, differences from a reference, update costs."""
    rows = []
    for arm in dict.fromkeys(job.arm for job in jobs):
        seeds = compared.seeds(arm.name)
        efforts = [study.passage(StreamJob(arm, seed)).effort for seed in seeds]
        gain: dict[str, float | None] = {}
        if arm.name != reference:
            gain = interval(compared.difference(arm.name, reference, METRIC))
        quality = {
            name.upper(): float(np.mean([compared.metric(arm.name, name, s) for s in seeds]))
            for name in ("hr@10", "ndcg@10", "mrr@10")
        }
        rows.append(
            {"arm": arm.name, "label": arm.label, "seeds": len(seeds), **quality, **gain,
             "rate": None if arm.strategy in FIXED else study.rate(arm),
             "steps": round(np.mean([effort.steps for effort in efforts])),
             "samples": round(np.mean([effort.samples for effort in efforts])),
             "seconds": float(np.mean([effort.seconds for effort in efforts]))}
        )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def curves_table(
    study: StreamStudy, served: ServedStream, jobs: Iterable[StreamJob]
) -> pl.DataFrame:
    """Return HR@10 of each arm and seed in each period.

    Arms have different numbers of seeds, so compare arms of the same seed only.
    """
    rows, drawn = [], served.rows.take(served.drawn)
    for job in jobs:
        hits = hit(study.passage(job).ranks[served.drawn], 10)
        for period, mean in zip(*per_period(hits, drawn, served.stream), strict=True):
            rows.append({"arm": job.arm.name, "label": job.arm.label, "seed": job.seed,
                         "period": int(period), "HR@10": float(mean)})  # fmt: skip
    return pl.DataFrame(rows)


def slices_table(
    study: StreamStudy,
    jobs: Iterable[StreamJob],
    kept: NDArray[np.bool_],
    slices: dict[str, NDArray[np.bool_]],
) -> pl.DataFrame:
    """Return HR@10 of each arm in slices of the rows, means over seeds, and the slices' sizes.

    Args:
        study: Study of the runs.
        jobs: Runs of the arms.
        kept: Mask of the rows that are sliced, ``[r]``.
        slices: Masks of the kept rows by the name of the slice.
    """
    seeds: dict[StreamArm, list[int]] = {}
    for job in jobs:
        seeds.setdefault(job.arm, []).append(job.seed)
    counts = {f"n {name}": int(part.sum()) for name, part in slices.items()}
    rows = []
    for arm, of in seeds.items():
        hits: list[Floats] = [
            hit(study.passage(StreamJob(arm, seed)).ranks[kept], 10) for seed in of
        ]
        mean = np.mean(hits, axis=0)
        values = {n: float(mean[part].mean()) if part.any() else None for n, part in slices.items()}
        rows.append({"arm": arm.name, "label": arm.label, "seeds": len(of), **values, **counts})
    return pl.DataFrame(rows, infer_schema_length=None)
