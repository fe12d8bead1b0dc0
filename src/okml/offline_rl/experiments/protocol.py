"""The logs as MDPs, and the effect of the order of tied ratings."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from okml.ledger import estimate_ratio
from okml.offline_rl.arms import tie_jobs
from okml.offline_rl.data import MDPDataset
from okml.offline_rl.experiments.training import train_all
from okml.offline_rl.study import Study
from okml.seqrec.batches import LastTargetBatch
from okml.seqrec.convergence import still_rising
from okml.seqrec.metrics import Floats, mean_metrics, row_metrics
from okml.seqrec.popularity import item_counts, popularity_scorer
from okml.seqrec.scorers import Scorer, score_function_scorer
from okml.steps import StepResult, files_used
from okml.training import History


def describe_data(study: Study) -> StepResult:
    """Count episodes, actions and rewards, and evaluate popularity and recency baselines."""
    result = StepResult()
    rows = []
    for settings in (*study.profile.datasets, study.profile.funnel):
        data = study.data(settings)
        lengths = data.interactions.lengths
        popular = rank_popular(study, data)
        recent = mean_metrics(study.rank_by(_most_recent(data.items), data))
        rewards = data.episodes.rewards
        first = data.interactions.offsets[:-1]
        rows.append(
            {
                "data": settings.log,
                "episodes": data.interactions.user_count,
                "items": data.items,
                "events": len(data.interactions),
                "mean length": float(lengths.mean()),
                "same time": data.log.tied_share,
                "reward": settings.reward,
                "wanted": float((rewards >= data.wanted).mean()),
                "return": float(data.episodes.returns[first].mean()),
                "training windows": len(data.windows()),
                "test rows": len(data.test),
                "popularity NDCG@10": popular["ndcg@10"],
                "most recent NDCG@10": recent["ndcg@10"],
                "source": data.log.source,
            }
        )
        if settings.is_real:
            result.data |= files_used(data.log.name)
        result.notes += [data.log.notice] if data.log.notice else []
        if settings == study.profile.main:
            result.log("popularity_ndcg", popular["ndcg@10"])
    result.frames["data"] = pl.DataFrame(rows)
    return result


def measure_ties(study: Study) -> StepResult:
    """Evaluate stage 1 with tied ratings in random order and in the order of item numbers."""
    result, rows = StepResult(), []
    train_all(study)
    # HR@10 of each user, [u], by order of tied events and seed.
    hits: dict[tuple[str, int], Floats] = {}
    by_item_number: list[History] = []
    for job in tie_jobs(study.profile):
        order, data = job.data.tie_rule, study.data(job.data)
        trained = study.train(job)
        if order == "item":
            by_item_number.append(trained.history)
        ranks = study.rank(trained.encoder, data)
        metrics = mean_metrics(ranks)
        rows.append(
            {
                "order of tied events": order,
                "HR@10": metrics["hr@10"],
                "NDCG@10": metrics["ndcg@10"],
            }
        )
        # The orders have different targets among ratings with equal times, so pair by user.
        hit = row_metrics(ranks, (10,))["hr@10"]
        _, user = np.unique(data.test.user, return_inverse=True)
        hits[order, job.seed] = np.bincount(user, hit).astype(np.float64)
    grouped = pl.DataFrame(rows).group_by("order of tied events", maintain_order=True)
    result.frames["ties"] = grouped.mean()
    by_item, by_chance = (
        {seed: hits[order, seed] for seed in study.profile.seeds} for order in ("item", "random")
    )
    gain = estimate_ratio(by_item, by_chance, "users").shifted(-1)
    result.measure("item_id_order_hr10_gain", gain)
    result.log("rising_item_order", int(still_rising(by_item_number)), exact=True)
    return result


def rank_popular(study: Study, data: MDPDataset) -> dict[str, float]:
    """Return the test metrics of the popularity baseline."""
    scorer = popularity_scorer(item_counts(data.interactions, data.split.train_end))
    return mean_metrics(study.rank_by(scorer, data))


def _most_recent(items: int) -> Scorer:
    """Return a scorer that ranks the items of the history, the newest first.

    It is a strong baseline if a purchase follows a click on the same item.
    """

    def score(batch: LastTargetBatch) -> torch.Tensor:
        found = torch.zeros(len(batch.items), items + 1, device=batch.items.device)
        place = torch.arange(1, batch.items.shape[1] + 1, device=batch.items.device)
        # An item that occurs twice has its later position.
        found.scatter_reduce_(1, batch.items, place.float().expand_as(batch.items), "amax")
        found[:, 0] = 0
        return found

    return score_function_scorer(score)
