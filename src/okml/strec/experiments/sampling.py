"""The learned scores of the sampler (Figure 8), and a case study of one history (Figure 9)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch.nn import functional

from okml.ledger import estimate_difference, estimate_over_seeds
from okml.seqrec.mixers import Attention, Context
from okml.steps import StepResult
from okml.strec.arms import (
    STARTS,
    curve_job,
    recipe_jobs,
    stage_jobs,
    start_from,
    warm_start,
)
from okml.strec.model import STRec
from okml.strec.relaxation import key_bias
from okml.strec.sampler import (
    LAST,
    draw_noise,
    gap_input,
    gaps,
    keep_order,
    shuffle,
    standardize,
)
from okml.strec.study import Study

# Gaps in seconds, from 0 to ten years.
GRID = np.unique(np.concatenate([[0], np.geomspace(1, 3.2e8, 120).round()])).astype(np.int64)
DRAWS = 50  # draws of the noise for inclusion probabilities
GAP_BINS = 24  # quantile bins of the gaps of the test histories
HISTORIES = 2000  # number of histories for inclusion probabilities

# The steps by which the authors' code replaces the MLP for MovieLens-20M at inference: scores
# before standardization, and the gaps in seconds between them.
RELEASED_SCORES = np.array([0.037, -0.163, -0.383, -0.553, -0.7074, -0.7674, -0.7824])
RELEASED_EDGES = np.array([70, 150, 250, 400, 600, 1000])


def released_scores(gap: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the scores in the authors' code for gaps in seconds, any shape."""
    scores: NDArray[np.float64] = RELEASED_SCORES[np.searchsorted(RELEASED_EDGES, gap, "right")]
    return scores


def measure_sampling(study: Study) -> StepResult:
    """Measure scores and inclusion probabilities by gap."""
    profile, data = study.profile, study.data(study.profile.main)
    result = StepResult()
    curves, kept = [], []
    batch = study.rows_source(data, data.test, data.settings.length).batch(
        np.arange(min(HISTORIES, len(data.test))), np.random.default_rng(0)
    )
    for recipe in profile.recipes:
        for job in (job for job in recipe_jobs(profile, recipe) if job.arm.learns_sample):
            model, seed = cast(STRec, study.train(job).encoder).eval(), job.seed
            key = {"recipe": recipe.name, "seed": seed}
            scores = _scores(model)
            curves.append(pl.DataFrame({"gap": GRID, "score": scores, **key}, strict=False))
            kept.append(_inclusion(model, batch.items, batch.times, key))
    starts, masks = _starts(study), _mask_losses(study)
    for kind, loss in masks.losses.items():
        gain = estimate_difference(loss["falls"], loss["rises"], "histories")
        result.measure(f"rising_mask_gain_{kind}", gain, "nats")
    means = starts.group_by("gaps", "seed", maintain_order=True).agg(pl.col("after").mean())
    trends = {
        kind: dict(means.filter(gaps=kind).select("seed", "after").iter_rows()) for kind in STARTS
    }
    trend, control = "gap_score_spearman", "gap_score_spearman_shuffled"
    result.measure(trend, estimate_over_seeds(trends["learned"]))
    result.measure(control, estimate_over_seeds(trends["shuffled"]))
    learned = {seed: value - trends["shuffled"][seed] for seed, value in trends["learned"].items()}
    result.compare(trend, control, estimate_over_seeds(learned))
    result.frames = {
        "curves": pl.concat(curves),
        "starts": starts,
        "released": pl.DataFrame({"gap": GRID, "score": released_scores(GRID)}),
        "kept": pl.concat(kept),
        "masks": masks.table,
    }
    return result


@torch.no_grad()
def _scores(model: STRec) -> NDArray[np.float32]:
    """Return the scores of the gaps of the grid, before standardization."""
    grid = torch.from_numpy(GRID).to(model.item_matrix().device)
    scores: NDArray[np.float32] = model.sampler.score_gaps(grid).cpu().numpy()
    return scores


def _starts(study: Study) -> pl.DataFrame:
    """Return the trend of each sampler before and after stage 1, from mirrored starts."""
    rows = []
    for kind, names in STARTS.items():
        for seed in study.profile.seeds:
            for name in names:
                job = curve_job(study.profile, name, seed)
                before = _trend(_scores(cast(STRec, study.untrained(job))))
                after = _trend(_scores(cast(STRec, study.train(job).encoder).eval()))
                rows.append({"gaps": kind, "seed": seed, "before": before, "after": after})
    return pl.DataFrame(rows)


class MaskLosses(NamedTuple):
    """Losses of the warm start under the soft mask of a curve that is stated, not learned."""

    losses: Mapping[str, Mapping[str, dict[int, NDArray[np.float64]]]]  # gaps, curve, seed: [b]
    table: pl.DataFrame  # their means, and the keys that the masks leave


@torch.no_grad()
def _mask_losses(study: Study) -> MaskLosses:
    """Measure which curve stage 1 prefers before it has trained anything.

    The scores rise or fall with the logarithm of the gap, and belong to the items or are shuffled
    among them. Noise and shuffling are drawn alike for both curves.
    """
    profile, data = study.profile, study.data(study.profile.main)
    losses: dict[str, dict[str, dict[int, NDArray[np.float64]]]] = {
        kind: {"rises": {}, "falls": {}} for kind in STARTS
    }
    rows = []
    for seed in profile.seeds:
        job = stage_jobs(profile, seed)["after stage 1"]
        start = warm_start(profile, job)
        assert start is not None  # the settings require it
        model = cast(STRec, study.untrained(job)).eval()
        start_from(model, study.train(start).encoder.state_dict())
        batch = study.rows_source(data, data.test, data.settings.length).batch(
            np.arange(min(profile.attention_histories, len(data.test))), np.random.default_rng(0)
        )
        tokens, _ = model.embed(batch.items, None, padded=False)
        real = torch.ones_like(batch.items, dtype=torch.bool)
        rise = standardize(gap_input(gaps(batch.times), "log"), real)  # [b, n]
        for kind, (curve, sign) in product(STARTS, (("rises", 1), ("falls", -1))):
            torch.manual_seed(seed)
            scores = shuffle(sign * rise, real) if kind == "shuffled" else sign * rise
            scores = scores + draw_noise(model.sampler.settings.noise, scores)
            scores[:, -1] = LAST
            vectors = model.encode_relaxed(tokens, scores)  # [b, d]
            logits = vectors @ model.item_matrix()[1:].T  # [b, items]
            loss = functional.cross_entropy(logits, batch.target - 1, reduction="none")
            losses[kind][curve][seed] = loss.double().cpu().numpy()
            left = {
                f"keys left of {count}": key_bias(scores, layer, count, model.relaxation)
                .exp().sum(1).mean().item()
                for layer, count in enumerate(model.schedule[:-1])
                if count < scores.shape[1]
            }  # fmt: skip
            rows.append(
                {"gaps": kind, "curve": curve, "seed": seed, "loss": loss.mean().item(), **left}
            )
    return MaskLosses(losses, pl.DataFrame(rows))


def _trend(scores: NDArray[np.float32]) -> float:
    """Return the Spearman correlation of gaps and their scores; 0 if all scores are equal."""
    return 0.0 if np.ptp(scores) == 0 else float(spearmanr(GRID, scores).statistic)


@torch.no_grad()
def _inclusion(
    model: STRec, items: torch.Tensor, times: torch.Tensor, key: Mapping[str, Any]
) -> pl.DataFrame:
    """Estimate the probability that an item is kept by gap, with the noise of training."""
    tokens, _ = model.embed(items, None, padded=False)
    sampler = copy.deepcopy(model.sampler)
    sampler.noise_at_evaluation = False  # the draws below are all the noise
    scores = sampler(tokens, times, None)  # [b, n]
    counts = sorted({k for k in model.schedule[:-1] if k < items.shape[1]}, reverse=True)
    kept = {count: torch.zeros_like(scores) for count in counts}
    torch.manual_seed(0)
    for _ in range(DRAWS):
        noisy = scores + draw_noise(model.sampler.settings.noise, scores)
        order = keep_order(noisy, max(counts, default=1))
        for count in counts:
            kept[count].scatter_add_(1, order[:, :count], torch.ones_like(noisy[:, :count]))
    seconds = gaps(times)[:, :-1].flatten().cpu().numpy()  # the newest item is always kept
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
            "title": data.names(batch.items[0].tolist()),
            "gap": gaps(batch.times)[0].cpu().numpy(),
            "rank": rank.cpu().numpy() + 1,
            "attention": weights.cpu().numpy(),
        }
    ).with_columns(
        layers=pl.col("rank").map_elements(
            lambda place: sum(place <= count for count in model.schedule), return_dtype=pl.Int64
        )
    )
    return StepResult(frames={"case": frame})
