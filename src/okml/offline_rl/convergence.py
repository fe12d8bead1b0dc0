"""Whether trainings of an arm could do better: with more epochs, or another learning rate.

No arm may see more targets than another, and one that still rises when its epochs are over could
do better with more of them. So its slope stands beside its result, and a claim that compares an
arm which was still rising is not decided. Nor is one that compares an arm whose best learning rate
may lie beyond those that were tried.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from okml.offline_rl.arms import ARMS, AnyJob, Job
from okml.offline_rl.study import Study
from okml.offline_rl.trainer import stage_of
from okml.seqrec.convergence import last_slope, still_rising
from okml.training import History


def describe_trainings(
    study: Study, jobs: Iterable[Job], histories: Mapping[AnyJob, History]
) -> pl.DataFrame:
    """Return a row for each log and arm, with means over seeds.

    Columns: ``data``; ``arm``; ``rate``, the factor of its learning rates that validation chose;
    ``bracketed``, whether no rate beyond those that were tried may be better; ``targets`` seen,
    with those of stage 1 where the arm starts from it; ``slope``, see
    :func:`~okml.seqrec.convergence.last_slope`, null where a curve is too short; and ``still
    rising``, whether its trainings ended before validation was flat, see
    :func:`~okml.seqrec.convergence.still_rising`.

    Args:
        study: The study of the run.
        jobs: The trainings to describe.
        histories: The histories of these trainings, and of stages 1 that they start from.
    """
    rows: list[dict[str, object]] = []
    ended: dict[tuple[str, str], list[History]] = defaultdict(list)
    for job in jobs:
        ended[job.data.log, job.arm].append(histories[job])
        before = [histories[job.stage1]] if ARMS[job.arm].from_stage1 else []
        of_stages = [(job, histories[job]), *((job.stage1, history) for history in before)]
        rows.append(
            {
                "data": job.data.log,
                "arm": job.arm,
                "rate": study.rate(job),
                "bracketed": study.tried(job).bracketed,
                "targets": sum(_targets(study, part, history) for part, history in of_stages),
                "slope": last_slope(histories[job]),
            }
        )
    frame = pl.DataFrame(rows, schema_overrides={"slope": pl.Float64}, infer_schema_length=None)
    means = frame.group_by("data", "arm", maintain_order=True).agg(
        pl.col("rate").mean(), pl.col("bracketed").all(), pl.col("targets", "slope").mean()
    )
    still = [still_rising(ended[key]) for key in means.select("data", "arm").iter_rows()]
    return means.with_columns(pl.Series("still rising", still))


def _targets(study: Study, job: Job, history: History) -> float:
    """Return the number of targets of all updates of a training."""
    data = study.data(job.data, job.seed)
    windows = data.windows()
    batch = stage_of(job.data, ARMS[job.arm], job.stage1_epochs, 1.0).batch
    epochs = history.steps / -(-len(windows) // batch)
    first, stop = windows.bounds(data.interactions, np.arange(len(windows)))
    return epochs * int((stop - first - 1).sum())
