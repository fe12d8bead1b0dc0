"""E6: discovery of new items, and item vectors of other trainings."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from okml.seqrec.metrics import row_metrics
from okml.steps import StepResult
from okml.video_workshop.stream.experiments.tables import (
    ages_table,
    compare,
    found_table,
    means,
    strategy_table,
)
from okml.video_workshop.stream.jobs import EXPIRING, STALE, UPDATED, new_item_jobs, started
from okml.video_workshop.stream.prequential import judge
from okml.video_workshop.stream.runs import StreamRuns
from okml.video_workshop.study import Study
from okml.video_workshop.users.transfer import align


def measure_new_items(study: Study) -> StepResult:
    """Compare methods for new items: initial rows, expiring rows, smaller batches, content."""
    runs, result = started(study), StepResult()
    world, jobs = runs.world(), new_item_jobs(runs)
    compared = compare(study, runs, world, jobs, world.drawn)
    result.frames["new_rows"] = strategy_table(runs, compared, jobs, UPDATED.name)
    result.frames["new_row_ages"] = ages_table(world, runs, jobs)
    result.frames["found"] = found_table(world, runs, jobs)
    seed = study.profile.seeds[0]
    alive = runs.passage(EXPIRING, seed).rows_alive
    result.frames["alive"] = pl.DataFrame(
        {
            "period": world.first + np.arange(len(alive)),
            "expiring": alive,
            "appeared": [
                len(world.stream.existing(world.first + number)) for number in range(len(alive))
            ],
        }
    )
    result.log("expiring_rows_share", alive[-1] / len(world.stream.existing(world.stream.count)))
    result.frames["alignment"] = _alignment(study, runs)
    return result


def _alignment(study: Study, runs: StreamRuns) -> pl.DataFrame:
    """Recommend by the history vectors of one base and the item vectors of another."""
    world, seed = runs.world(), study.profile.seeds[0]
    base = runs.base("user_model", seed).eval()
    trainer = runs.trainer(STALE, seed + 1)
    other = runs.base("user_model", trainer.seed).eval()
    old, new = base.item_matrix().detach(), other.item_matrix().detach()
    known = torch.from_numpy(world.stream.existing(world.first - 1)).to(old.device)
    turned = new @ align(new[known], old[known])
    rows = world.rows.take(world.drawn & (world.period == world.first))
    tables = {"its own": old, "of another training": new, "of another training, aligned": turned}
    found = []
    for name, matrix in tables.items():
        ranks = judge(
            base, world.stream, rows, trainer.settings.model.length,
            batch_size=study.profile.evaluation_batch, item_matrix=matrix,
        )  # fmt: skip
        found.append({"item vectors": name, **means(row_metrics(ranks, (10,)))})
    return pl.DataFrame(found)
