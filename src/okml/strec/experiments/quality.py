"""Recommendation quality of STRec and its controls (Table 2, Figures 4, 6 and 7)."""

from __future__ import annotations

from typing import Any

import polars as pl

from okml.ledger import Estimate, estimate_over_seeds
from okml.seqrec.backbone import Backbone
from okml.seqrec.comparison import cells_won
from okml.seqrec.metrics import mean_metrics
from okml.seqrec.ranking import Ranks
from okml.steps import StepResult, announced
from okml.strec.arms import BACKBONE, Arm, mixer_arms, quality_arms, sampled
from okml.strec.comparison import METRICS, Comparison
from okml.strec.data import Prepared
from okml.strec.settings import Recipe
from okml.strec.study import Study
from okml.strec.trainer import Trained

CAUSAL, STREC = "causal SASRec", "strec"


def measure_quality(study: Study) -> StepResult:
    """Train and evaluate every arm, causal SASRec and the references on every data set."""
    profile, result = study.profile, StepResult()
    summaries, seeds, costs = [], [], []
    cells: list[Estimate] = []  # STRec less its best opponent
    for settings in profile.datasets:
        data = study.data(settings)
        comparison = study.comparison(data)
        if profile.recipe.warm_start_epochs:
            for seed in profile.seeds:
                start = study.warm_start(data, profile.recipe, seed)
                costs.append(cost_row(data, "warm start of all arms", seed, start))
        for arm in quality_arms(profile, settings):
            for seed in profile.seeds:
                trained = train_and_rank(study, data, profile.recipe, arm, seed, comparison)
                costs.append(cost_row(data, arm.name, seed, trained, arm.length))
        for layers in profile.causal.layers:
            for seed in profile.seeds:
                trained = study.train_causal(data, layers, seed)
                name = (
                    CAUSAL if layers == profile.causal.layers[0] else f"{CAUSAL}, {layers} layers"
                )
                comparison.add(name, seed, study.evaluate(trained.encoder, data))
                costs.append(cost_row(data, name, seed, trained))
        for reference in profile.references:
            seed = profile.seeds[0]
            other = study.train_reference(data, reference, seed)
            comparison.add(reference, seed, study.evaluate(other.encoder, data))
            costs.append(cost_row(data, reference, seed, other))
        summaries.append(_named(comparison.summary("backbone"), data))
        seeds.append(_named(comparison.per_seed(), data))
        ours = {arm.name for arm in quality_arms(profile, settings)} - {BACKBONE.name}
        opponents = [arm for arm in comparison.arms if arm not in ours]
        cells += [comparison.less_the_best(STREC, opponents, metric) for metric in METRICS]
        if settings == profile.main:
            _measure_gains(result, comparison)
            result.measure("causal_training_time_ratio", _causal_time(study, data))
    result.measure("cells_won", cells_won(cells), f"of {len(cells)}")
    result.frames = {
        "summary": pl.concat(summaries),
        "seeds": pl.concat(seeds),
        "costs": pl.DataFrame(costs),
    }
    return result


def measure_rules(study: Study) -> StepResult:
    """Evaluate with other rules: seen items hidden, noise on, short rows as misses."""
    profile, data = study.profile, study.data(study.profile.main)
    rows = []
    for seed in profile.seeds:
        for name in ("backbone", "strec"):
            arm = BACKBONE if name == "backbone" else sampled(name, data.settings, profile.recipe)
            encoder = study.train(data, profile.recipe, arm, seed).encoder
            plain = mean_of_rows(study.evaluate(encoder, data))
            share = len(data.test) / data.all_test
            found = {
                "as in the main table": plain,
                "seen items hidden": mean_of_rows(study.evaluate(encoder, data, hide_seen=True)),
                "short rows as misses": {metric: v * share for metric, v in plain.items()},
            }
            rows += [
                {"arm": name, "rule": rule, "seed": seed, **means} for rule, means in found.items()
            ]
            if name == "strec":
                for draw in range(profile.noise_draws):
                    ranks = study.evaluate(encoder, data, noise_seed=draw)
                    rows.append(
                        {"arm": name, "rule": "noise on", "seed": seed, **mean_of_rows(ranks)}
                    )
    return StepResult(frames={"rules": pl.DataFrame(rows)})


def measure_recipes(study: Study) -> StepResult:
    """Train and evaluate backbone and STRec with every recipe, ours and the authors'."""
    profile, data = study.profile, study.data(study.profile.main)
    rows = []
    for recipe in profile.recipes:
        comparison = study.comparison(data)
        for arm in (BACKBONE, sampled("strec", data.settings, recipe)):
            for seed in profile.seeds[: recipe.seeds]:
                train_and_rank(study, data, recipe, arm, seed, comparison)
        summary = comparison.summary("backbone")
        rows.append(summary.with_columns(recipe=pl.lit(recipe.name)))
    return StepResult(frames={"recipes": pl.concat(rows)})


def measure_mixers(study: Study) -> StepResult:
    """Train the backbone with each efficient mixer, with new weights where shapes differ."""
    profile, data = study.profile, study.data(study.profile.main)
    seed = profile.seeds[0]
    comparison, shares, costs = study.comparison(data), [], []
    for arm in (BACKBONE, *mixer_arms(profile)):
        with announced(f"{data.name}: {arm.name}"):
            trained = train_and_rank(study, data, profile.recipe, arm, seed, comparison)
        shares.append({"arm": arm.name, "weights from the warm start": trained.warm_share})
        costs.append(cost_row(data, arm.name, seed, trained))
    summary = comparison.summary("backbone").join(
        pl.DataFrame(shares), on="arm", maintain_order="left"
    )
    return StepResult(frames={"mixers": summary, "costs": pl.DataFrame(costs)})


def train_and_rank(
    study: Study, data: Prepared, recipe: Recipe, arm: Arm, seed: int, comparison: Comparison
) -> Trained[Backbone]:
    """Train an arm, and add its ranks of the test rows to a comparison."""
    trained = study.train(data, recipe, arm, seed)
    comparison.add(arm.name, seed, study.evaluate(trained.encoder, data, length=arm.length))
    return trained


def _measure_gains(result: StepResult, comparison: Comparison) -> None:
    ndcg = "ndcg@10"
    for name, arm in (("ndcg", STREC), ("backbone_ndcg", BACKBONE.name), ("causal_ndcg", CAUSAL)):
        result.measure(name, comparison.estimate(arm, ndcg))
    for other in (BACKBONE.name, "random", "recency", "causal"):
        arm = CAUSAL if other == "causal" else other
        result.measure(f"ndcg_gain_over_{other}", comparison.difference(STREC, arm, ndcg))
    recency = "recency_ndcg_gain_over_random"
    result.measure(recency, comparison.difference("recency", "random", ndcg))
    learned = comparison.difference(STREC, "recency", ndcg)
    result.compare("ndcg_gain_over_random", recency, learned)


def _causal_time(study: Study, data: Prepared) -> Estimate:
    """Return the ratio of training times of causal SASRec and STRec with its warm start."""
    profile = study.profile
    arm, ratios = sampled(STREC, data.settings, profile.recipe), {}
    for seed in profile.seeds:
        own = study.train(data, profile.recipe, arm, seed).seconds
        if profile.recipe.warm_start_epochs:
            own += study.warm_start(data, profile.recipe, seed).seconds
        ratios[seed] = study.train_causal(data, profile.causal.layers[0], seed).seconds / own
    return estimate_over_seeds(ratios)


def cost_row(
    data: Prepared, arm: str, seed: int, trained: Trained[Any], length: int | None = None
) -> dict[str, object]:
    """Return the time and targets of a training, and the operations of the encoder."""
    return {
        "data": data.name,
        "arm": arm,
        "seed": seed,
        "seconds": trained.seconds,
        "targets": trained.targets,
        "targets/s": trained.targets / trained.seconds,
        "MFLOP": trained.encoder.flops(length or data.settings.length) / 1e6,
    }


def _named(frame: pl.DataFrame, data: Prepared) -> pl.DataFrame:
    return frame.select(pl.lit(data.name).alias("data"), pl.all())


def mean_of_rows(ranks: Ranks) -> dict[str, float]:
    """Return the means over rows of the metrics in the paper's Table 2."""
    means = mean_metrics(ranks)
    return {name: means[name] for name in METRICS}
