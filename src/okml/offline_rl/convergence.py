"""What the trainings of an arm have seen, and whether validation was still rising at their end.

No arm may see more targets than another, and one that still rises when its epochs are over could
do better with more of them. So its rise stands beside its result, and a claim that compares an arm
which was still rising is not decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from okml.offline_rl.arms import ARMS, AnyJob, Job
from okml.offline_rl.study import Study
from okml.offline_rl.trainer import MONITOR, stage_of
from okml.training import History

TENTH = 0.1


def last_rise(values: Sequence[float]) -> float:
    """Return how much a validation rose over the last tenth of a training, as a share of its best.

    The mean of the last tenth of the values is held against that of the tenth before, or against
    zero where there is none.

    Args:
        values: The values of the validations, in order; at least one.
    """
    count = max(1, round(TENTH * len(values)))
    last, before = values[-count:], values[-2 * count : -count]
    gained = sum(last) / count - (sum(before) / len(before) if before else 0.0)
    return gained / max(*values, 1e-12)


def describe_trainings(
    study: Study, jobs: Iterable[Job], histories: Mapping[AnyJob, History]
) -> pl.DataFrame:
    """Return a row for each log and arm, with means over seeds.

    Columns: ``data``; ``arm``; ``rate``, the factor of its learning rates that validation chose;
    ``targets`` seen, with those of stage 1 where the arm starts from it; ``rise``, see
    :func:`last_rise`; and ``flat``, the share of its trainings that ended because validation rose
    no more.

    Args:
        study: The study of the run.
        jobs: The trainings to describe.
        histories: The histories of these trainings, and of stages 1 that they start from.
    """
    rows = []
    for job in jobs:
        before = [histories[job.stage1]] if ARMS[job.arm].from_stage1 else []
        of_stages = [(job, histories[job]), *((job.stage1, history) for history in before)]
        rows.append(
            {
                "data": job.data.log,
                "arm": job.arm,
                "rate": study.rate(job),
                "targets": sum(_targets(study, part, history) for part, history in of_stages),
                "rise": last_rise(histories[job].frame[MONITOR].drop_nulls().to_list()),
                "flat": float(histories[job].stopped_by == "early_stopping"),
            }
        )
    return pl.DataFrame(rows).group_by("data", "arm", maintain_order=True).mean()


def _targets(study: Study, job: Job, history: History) -> float:
    """Return the number of targets of all updates of a training."""
    data = study.data(job.data, job.seed)
    batch = stage_of(job.data, ARMS[job.arm], job.stage1_epochs, 1.0).batch
    epochs = history.steps / -(-len(data.windows()) // batch)
    return epochs * data.targets_of_an_epoch()
