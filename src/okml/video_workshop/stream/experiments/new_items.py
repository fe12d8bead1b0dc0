"""E6: discovery of new items, and item vectors of other trainings."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from okml.seqrec.metrics import row_metrics
from okml.steps import StepResult
from okml.video_workshop.stream.arms import EXPIRING, STALE, UPDATED, Job, new_item_jobs
from okml.video_workshop.stream.experiments.tables import (
    ages_table,
    compare,
    found_table,
    means,
    strategy_table,
)
from okml.video_workshop.stream.prequential import judge
from okml.video_workshop.stream.study import StreamStudy
from okml.video_workshop.users.transfer import align


def measure_new_items(study: StreamStudy) -> StepResult:
    """Compare methods for new items: initial rows, expiring rows, smaller batches, content."""
    study.run_all()
    result = StepResult()
    served, jobs = study.served(), new_item_jobs(study.profile)
    compared = compare(study, served, jobs, served.drawn)
    result.frames["new_rows"] = strategy_table(study, compared, jobs, UPDATED.name)
    result.frames["new_row_ages"] = ages_table(study, served, jobs)
    result.frames["found"] = found_table(study, served, jobs)
    seed = study.profile.seeds[0]
    alive = study.passage(Job(EXPIRING, seed)).rows_alive
    result.frames["alive"] = pl.DataFrame(
        {
            "period": served.first + np.arange(len(alive)),
            "expiring": alive,
            "appeared": [
                len(served.stream.existing(served.first + number)) for number in range(len(alive))
            ],
        }
    )
    result.log("expiring_rows_share", alive[-1] / len(served.stream.existing(served.stream.count)))
    result.frames["alignment"] = _alignment(study)
    return result


def _alignment(study: StreamStudy) -> pl.DataFrame:
    """Recommend by the history vectors of one base and the item vectors of another."""
    served, seed = study.served(), study.profile.seeds[0]
    base = study.base(Job(STALE, seed)).eval()
    trainer = study.trainer(STALE, seed + 1)
    other = study.base(Job(STALE, trainer.seed)).eval()
    old, new = base.item_matrix().detach(), other.item_matrix().detach()
    known = torch.from_numpy(served.stream.existing(served.first - 1)).to(old.device)
    turned = new @ align(new[known], old[known])
    rows = served.rows.take(served.drawn & (served.period == served.first))
    tables = {"its own": old, "of another training": new, "of another training, aligned": turned}
    found = []
    for name, matrix in tables.items():
        ranks = judge(
            base, served.stream, rows, trainer.settings.model.length,
            batch_size=study.profile.evaluation_batch, item_matrix=matrix,
        )  # fmt: skip
        found.append({"item vectors": name, **means(row_metrics(ranks, (10,)))})
    return pl.DataFrame(found)
