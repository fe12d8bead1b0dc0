"""The learned scores of the sampler (Figure 8), and a case study of one history (Figure 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from scipy.stats import spearmanr

from okml.ledger import estimate_over_seeds
from okml.seqrec.mixers import Attention, Context
from okml.steps import StepResult
from okml.strec.arms import recipe_jobs, stage_jobs
from okml.strec.gap_table import RELEASED_TABLE, freeze_to_table
from okml.strec.model import STRec
from okml.strec.sampler import draw_noise, gaps, keep_order
from okml.strec.study import Study

# Gaps in seconds, from 0 to ten years.
GRID = np.unique(np.concatenate([[0], np.geomspace(1, 3.2e8, 120).round()])).astype(np.int64)
DRAWS = 50  # draws of the noise for inclusion probabilities
GAP_BINS = 24  # quantile bins of the gaps of the test histories
HISTORIES = 2000  # number of histories for inclusion probabilities


def measure_sampling(study: Study) -> StepResult:
    """Measure scores and inclusion probabilities by gap, and the tables that approximate scores."""
    profile, data = study.profile, study.data(study.profile.main)
    result = StepResult()
    curves, kept, tables = [], [], []
    trends: dict[int, float] = {}
    untrained: dict[int, float] = {}
    batch = study.rows_source(data, data.test, data.settings.length).batch(
        np.arange(min(HISTORIES, len(data.test))), np.random.default_rng(0)
    )
    gap = gaps(batch.times)  # [b, n]
    for recipe in profile.recipes:
        for job in (job for job in recipe_jobs(profile, recipe) if job.arm.learns_sample):
            model, seed = cast(STRec, study.train(job).encoder).eval(), job.seed
            key = {"recipe": recipe.name, "seed": seed}
            with torch.no_grad():
                grid = torch.from_numpy(GRID).to(study.device)
                scores = model.sampler.score_gaps(grid).cpu().numpy()
                curves.append(pl.DataFrame({"gap": GRID, "score": scores, **key}, strict=False))
                table = freeze_to_table(model.sampler, gap.flatten())
                agreement = spearmanr(
                    table(gap.flatten()).cpu().numpy(),
                    model.sampler.score_gaps(gap.flatten()).cpu().numpy(),
                ).statistic
            tables.append({**key, "steps": len(table.values), "rank agreement": float(agreement)})
            kept.append(_inclusion(study, model, batch.items, batch.times, gap, key))
            if recipe.name == profile.recipe.name:
                fresh = cast(STRec, study.untrained(job)).eval()
                trends[seed] = _trend(model, grid)
                untrained[seed] = _trend(fresh, grid)
    trend, control = "gap_score_spearman", "gap_score_spearman_untrained"
    result.measure(trend, estimate_over_seeds(trends))
    result.measure(control, estimate_over_seeds(untrained))
    learned = {seed: trends[seed] - untrained[seed] for seed in trends}
    result.compare(trend, control, estimate_over_seeds(learned))
    released = pl.DataFrame(
        {"gap": GRID, "score": RELEASED_TABLE(torch.from_numpy(GRID)).double().numpy()}
    )
    result.frames = {
        "curves": pl.concat(curves),
        "released": released,
        "kept": pl.concat(kept),
        "tables": pl.DataFrame(tables),
    }
    return result


@torch.no_grad()
def _trend(model: STRec, grid: torch.Tensor) -> float:
    """Return the Spearman correlation of gaps and their scores; 0 if all scores are equal."""
    scores = model.sampler.score_gaps(grid).cpu().numpy()
    if np.ptp(scores) == 0:
        return 0.0
    return float(spearmanr(GRID, scores).statistic)


@torch.no_grad()
def _inclusion(
    study: Study,
    model: STRec,
    items: torch.Tensor,
    times: torch.Tensor,
    gap: torch.Tensor,
    key: Mapping[str, Any],
) -> pl.DataFrame:
    """Estimate the probability that an item is kept by gap, with the noise of training."""
    tokens, _ = model.embed(items, None, padded=False)
    scores = model.sampler(tokens, times, None)  # [b, n]
    counts = sorted({k for k in model.schedule[:-1] if k < items.shape[1]}, reverse=True)
    kept = {count: torch.zeros_like(scores) for count in counts}
    torch.manual_seed(0)
    for _ in range(DRAWS):
        noisy = scores + draw_noise(model.sampler.settings.noise, scores)
        order = keep_order(noisy, max(counts, default=1))
        for count in counts:
            kept[count].scatter_add_(1, order[:, :count], torch.ones_like(noisy[:, :count]))
    seconds = gap[:, :-1].flatten().cpu().numpy()  # the newest item is always kept
    edges = np.unique(np.quantile(seconds, np.linspace(0, 1, GAP_BINS + 1)))
    which = np.clip(np.searchsorted(edges, seconds, side="right") - 1, 0, len(edges) - 2)
    frames = []
    for count in counts:
        share = kept[count][:, :-1].flatten().cpu().numpy() / DRAWS
        rows = pl.DataFrame({"bin": which, "gap": seconds, "kept": share})
        means = rows.group_by("bin").agg(
            pl.col("gap").median(), pl.col("kept").mean(), pl.len().alias("items")
        )
        constants = [pl.lit(value).alias(name) for name, value in {**key, "count": count}.items()]
        frames.append(means.sort("bin").with_columns(constants))
    return pl.concat(frames)


@torch.no_grad()
def measure_case(study: Study) -> StepResult:
    """Return the items of one history: the layers that keep each, and its attention weight."""
    profile, data = study.profile, study.data(study.profile.main)
    job = stage_jobs(profile, profile.seeds[0])["both stages"]
    model = cast(STRec, study.train(job).encoder).eval()
    row = data.varied_row()
    batch = study.rows_source(data, data.test, data.settings.length).batch(
        np.array([row]), np.random.default_rng(0)
    )
    tokens, _ = model.embed(batch.items, None, padded=False)
    order = keep_order(model.sampler(tokens, batch.times, None), data.settings.length)[0]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    first = model.blocks[0].mixer
    assert isinstance(first, Attention)
    weights = first.weights(tokens, Context())[0].mean(0)[-1]  # the newest item's weights, [n]
    frame = pl.DataFrame(
        {
            "position": np.arange(1, data.settings.length + 1),
            "number": batch.items[0].cpu().numpy(),
            "gap": gaps(batch.times)[0].cpu().numpy(),
            "rank": rank.cpu().numpy() + 1,
            "attention": weights.cpu().numpy(),
        }
    ).with_columns(
        layers=pl.col("rank").map_elements(
            lambda place: sum(place <= count for count in model.schedule), return_dtype=pl.Int64
        )
    )
    titles = data.titles()
    if titles is not None:
        known = titles.select(
            pl.col("number").cast(frame.schema["number"]),
            "title",
            pl.col("genres").list.join(", "),
        )
        frame = frame.join(known, on="number", how="left", maintain_order="left")
    return StepResult(frames={"case": frame})
