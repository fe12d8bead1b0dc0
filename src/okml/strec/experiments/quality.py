"""Recommendation quality of STRec and its controls (Table 2, Figures 4, 6 and 7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import polars as pl

from okml.ledger import Estimate, estimate_over_seeds
from okml.seqrec.comparison import RankedArms, cells_won
from okml.seqrec.convergence import still_rising
from okml.seqrec.metrics import mean_metrics, row_metrics, user_mean
from okml.seqrec.ranking import Ranks
from okml.steps import StepResult, announced
from okml.strec.arms import (
    BACKBONE,
    CAUSAL,
    WARM_START,
    Job,
    causal_arms,
    jobs_of,
    literature_job,
    mixer_jobs,
    quality_arms,
    quality_jobs,
    recipe_jobs,
    same_rate_jobs,
    short_arms,
    warm_start,
)
from okml.strec.study import Study
from okml.strec.trainer import TrainedEncoder
from okml.training import History

STREC = "strec"
IN_FILE_ORDER = f"{CAUSAL}, order of the file"  # of events of one time
METRICS = ("hr@10", "mrr@10", "ndcg@10")  # the columns of the paper's Table 2
# What bounds a training, beside a validation that is flat.
BUDGETS = {
    "rows": "the targets of STRec",
    "windows": "about the time of STRec",
    "warm start": "of the warm start",
}


def measure_quality(study: Study) -> StepResult:
    """Train and evaluate every arm, causal SASRec and the references on every data set."""
    profile, result = study.profile, StepResult()
    summaries, without_seen, seeds = [], [], []
    starts: list[dict[str, Any]] = []  # costs of warm starts
    costs: list[dict[str, Any]] = []  # costs of the arms that start from them
    cells: list[Estimate] = []  # STRec less its best opponent
    for settings in profile.datasets:
        jobs = quality_jobs(profile, settings)
        starts += cost_rows(study, with_starts(study, jobs)[len(jobs) :])
        ranked, hidden = ranked_arms(study, jobs), ranked_arms(study, jobs, hide_seen=True)
        spent = cost_rows(study, jobs)
        costs += spent
        validated = mean_validations(spent)
        named = pl.lit(settings.log).alias("data")
        table = summary(ranked, BACKBONE.name).join(
            budgets(study, jobs, spent), on="arm", maintain_order="left"
        )
        summaries.append(table.select(named, pl.all()))
        without_seen.append(summary(hidden, BACKBONE.name).select(named, pl.all()))
        seeds.append(per_seed(ranked).select(named, pl.all()))
        ours = {arm.name for arm in quality_arms(profile, settings)} - {BACKBONE.name}
        opponents = [arm for arm in ranked.arms if arm not in ours]
        cells += [ranked.less_the_best(STREC, opponents, metric) for metric in METRICS]
        if settings == profile.main:
            shortest = [arm.name for arm in short_arms(settings)]
            _measure_gains(result, ranked, max(shortest, key=lambda arm: validated[arm]))
            result.measure("finetuning_ndcg_gain", _finetuning_gain(study, ranked))
            _measure_at_one_rate(result, study)
            result.measure(
                "ndcg_gain_over_backbone_seen_hidden",
                hidden.difference(STREC, BACKBONE.name, "ndcg@10"),
            )
            result.measure("causal_training_time_ratio", _causal_time(study, jobs))
            for metric, arms in (
                ("rising_samples", (STREC, "recency", "random")),
                ("rising_causal", (STREC, CAUSAL)),
            ):
                result.log(metric, rising(study, jobs, arms), exact=True)
    whole = pl.concat(summaries)
    result.log("rising_in_cells", int(whole["still rising"].sum()), exact=True)
    result.measure("cells_won", cells_won(cells), f"of {len(cells)}")
    result.frames = {
        "summary": whole,
        "seen_hidden": pl.concat(without_seen),
        "seeds": pl.concat(seeds),
        "costs": cost_frame(starts + costs),
    }
    return result


def measure_rules(study: Study) -> StepResult:
    """Evaluate with other rules: noise on, short rows as misses or ranked, ties as in the file."""
    profile, data = study.profile, study.data(study.profile.main)
    share = len(data.test) / data.all_test
    rows: list[dict[str, Any]] = []
    for job in sorted(recipe_jobs(profile, profile.recipe), key=lambda job: job.seed):
        plain = mean_of_rows(study.ranks(job))
        found = [
            ("as in the main table", plain),
            ("short rows as misses", {metric: value * share for metric, value in plain.items()}),
        ]
        for draw in range(profile.noise_draws if job.arm.name == STREC else 0):
            found.append(("noise on", mean_of_rows(study.ranks(job, noise_seed=draw))))
        key = {"arm": job.arm.name, "seed": job.seed}
        rows += [{**key, "rule": rule, **means} for rule, means in found]
    # The literature ranks short histories, too, hides seen items and has the order of the file.
    anchors = jobs_of(profile.main, causal_arms(profile)[:1], profile.seeds, profile.recipe)
    literature = RankedArms(data.split.test.user)
    for job in (*anchors, literature_job(profile)):
        arm = IN_FILE_ORDER if job.data.tie_rule == "file" else CAUSAL
        for rule, hide_seen in (("every test row", False), ("every test row, seen hidden", True)):
            ranks = study.ranks(job, hide_seen=hide_seen, every_row=True)
            rows.append({"arm": arm, "rule": rule, "seed": job.seed, **mean_of_rows(ranks)})
        literature.add(arm, job.seed, ranks)
    result = StepResult(
        frames={"rules": pl.DataFrame(rows).select("arm", "rule", "seed", *METRICS)}
    )
    for metric, arm in (("literature_ndcg", IN_FILE_ORDER), ("literature_ndcg_drawn", CAUSAL)):
        result.measure(metric, literature.estimate(arm, "ndcg@10"))
    gain = literature.difference(IN_FILE_ORDER, CAUSAL, "ndcg@10")
    result.measure("file_order_ndcg_gain", gain)
    return result


def measure_recipes(study: Study) -> StepResult:
    """Train and evaluate backbone and STRec with every recipe, ours and the authors'."""
    rows = []
    for recipe in study.profile.recipes:
        ranked = ranked_arms(study, recipe_jobs(study.profile, recipe))
        named = pl.lit(recipe.name).alias("recipe")
        rows.append(summary(ranked, BACKBONE.name).with_columns(named))
    return StepResult(frames={"recipes": pl.concat(rows)})


def measure_mixers(study: Study) -> StepResult:
    """Train the backbone with each efficient mixer, with new weights where shapes differ."""
    jobs = mixer_jobs(study.profile)
    shares = {
        "arm": [job.arm.name for job in jobs],
        "weights from the warm start": [study.train(job).warm_share for job in jobs],
        "still rising": [rising(study, [job]) > 0 for job in jobs],
    }
    mixers = summary(ranked_arms(study, jobs), BACKBONE.name)
    mixers = mixers.join(pl.DataFrame(shares), on="arm", maintain_order="left")
    return StepResult(frames={"mixers": mixers, "costs": cost_frame(cost_rows(study, jobs))})


def ranked_arms(study: Study, jobs: Sequence[Job], *, hide_seen: bool = False) -> RankedArms:
    """Train arms on one data set; return their ranks of its test rows."""
    ranked = RankedArms(study.data(jobs[0].data).test.user)
    for job in jobs:
        with announced(f"{job.data.log}: {job.arm.name}, seed {job.seed}"):
            ranked.add(job.arm.name, job.seed, study.ranks(job, hide_seen=hide_seen))
    return ranked


def with_starts(study: Study, jobs: Iterable[Job]) -> list[Job]:
    """Return trainings, and after them the warm starts from which they start."""
    jobs = list(jobs)
    starts = dict.fromkeys(warm_start(study.profile, job) for job in jobs)
    return [*jobs, *(start for start in starts if start is not None)]


def rising(study: Study, jobs: Iterable[Job], arms: Collection[str] | None = None) -> int:
    """Return how many of the arms, or of some of them, ended before validation was flat.

    Their warm start counts as an arm: what is fine-tuned from it goes on where it ended.
    """
    compared = [job for job in jobs if arms is None or job.arm.name in arms]
    trainings: dict[object, list[History]] = defaultdict(list)  # the seeds of an arm
    for job in with_starts(study, compared):
        trainings[replace(job, seed=0)].append(study.train(job).history[-1])
    return sum(map(still_rising, trainings.values()))


def budgets(study: Study, jobs: Sequence[Job], costs: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return what each arm could spend and did, its warm start included, means over seeds.

    The last columns tell by how much its validation ended above that of its warm start, how many
    seeds kept the start of stage 2, since no epoch was better, and whether the arm or its warm
    start was still rising, on average over the seeds.
    """
    rows = []
    for job, row in zip(jobs, costs, strict=True):
        start = warm_start(study.profile, job)
        before = None if start is None else study.train(start)
        rows.append(
            {
                **{name: row[name] for name in ("arm", "budget", "slope", "start kept")},
                "targets": row["targets"] + (before.targets if before else 0),
                "seconds": row["seconds"] + (before.seconds if before else 0.0),
                "over the start": row["validation"] - before.validation if before else None,
            }
        )
    means = (
        cost_frame(rows)
        .group_by("arm", maintain_order=True)
        .agg(
            pl.col("budget").first(),
            pl.col("targets", "seconds", "slope", "over the start").mean(),
            pl.col("start kept").sum().alias("starts kept"),
        )
    )
    still = [rising(study, jobs, [arm]) > 0 for arm in means["arm"]]
    return means.with_columns(pl.Series("still rising", still))


def per_seed(ranked: RankedArms) -> pl.DataFrame:
    """Return a row for each arm and seed: means over rows, and NDCG@10 also over users."""
    rows = []
    for (arm, seed), ranks in ranked.ranks.items():
        by_user = user_mean(row_metrics(ranks)["ndcg@10"], ranked.users)
        rows.append({"arm": arm, "seed": seed, **mean_of_rows(ranks), "ndcg@10 by user": by_user})
    return pl.DataFrame(rows)


def summary(ranked: RankedArms, reference: str) -> pl.DataFrame:
    """Return a row for each arm: means, sd over seeds, interval, and paired difference."""
    metric, rows = "ndcg@10", []
    for arm in ranked.arms:
        own = ranked.estimate(arm, metric)
        other = None if arm == reference else ranked.difference(arm, reference, metric)
        gain = (other.mean, other.low, other.high) if other else (None, None, None)
        rows.append((arm, own.low, own.high, *gain))
    columns = ("low", "high", "difference", "difference low", "difference high")
    schema = {"arm": pl.String, **dict.fromkeys(columns, pl.Float64)}
    means = (
        per_seed(ranked)
        .group_by("arm", maintain_order=True)
        .agg(
            pl.len().alias("seeds"),
            *(pl.col(name).mean() for name in (*METRICS, "ndcg@10 by user")),
            pl.col(metric).std().alias("sd"),
        )
    )
    bounds = pl.DataFrame(rows, schema=schema, orient="row")
    return means.join(bounds, on="arm", maintain_order="left")


def mean_validations(costs: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return NDCG@10 on the validation rows of each arm, the mean over seeds."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in costs:
        found[row["arm"]].append(row["validation"])
    return {arm: fmean(values) for arm, values in found.items()}


def _measure_gains(result: StepResult, ranked: RankedArms, newest: str) -> None:
    """Measure what STRec gains over other arms.

    Args:
        result: The result of the step, which gets the metrics.
        ranked: The ranks of all arms.
        newest: The arm that reads the newest items alone, with the best length on validation.
    """
    ndcg = "ndcg@10"
    for other in (BACKBONE.name, "random", "recency", "causal"):
        arm = CAUSAL if other == "causal" else other
        result.measure(f"ndcg_gain_over_{other}", ranked.difference(STREC, arm, ndcg))
    result.measure("ndcg_gain_over_newest", ranked.difference(STREC, newest, ndcg))
    recency = "recency_ndcg_gain_over_random"
    result.measure(recency, ranked.difference("recency", "random", ndcg))
    learned = ranked.difference(STREC, "recency", ndcg)
    result.compare("ndcg_gain_over_random", recency, learned)


def _measure_at_one_rate(result: StepResult, study: Study) -> None:
    """Measure what STRec gains over other samples that were trained at its learning rate."""
    ranked = ranked_arms(study, same_rate_jobs(study.profile))
    for other in ("random", "recency"):
        gain = ranked.difference(STREC, other, "ndcg@10")
        result.measure(f"ndcg_gain_over_{other}_at_one_rate", gain)


def _finetuning_gain(study: Study, ranked: RankedArms) -> Estimate:
    """Return NDCG@10 of the backbone less that of its warm start, which reads rows as it does."""
    profile, names = study.profile, (BACKBONE.name, WARM_START.name)
    gained = RankedArms(ranked.users)
    for job in jobs_of(profile.main, [BACKBONE], profile.seeds, profile.recipe):
        start = warm_start(profile, job)
        assert start is not None  # the settings require it
        for name, training in zip(names, (job, start), strict=True):
            gained.add(name, job.seed, study.ranks(training))
    return gained.difference(*names, "ndcg@10")


def _causal_time(study: Study, jobs: Sequence[Job]) -> Estimate:
    """Return the ratio of training times of causal SASRec and STRec with its warm start."""
    seconds: dict[str, dict[int, float]] = {STREC: {}, CAUSAL: {}}
    for job in jobs:
        if job.arm.name in seconds:
            spent = sum(study.train(part).seconds for part in with_starts(study, [job]))
            seconds[job.arm.name][job.seed] = spent
    return estimate_over_seeds(
        {seed: spent / seconds[STREC][seed] for seed, spent in seconds[CAUSAL].items()}
    )


def cost_rows(study: Study, jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """Return a row of costs for each training."""
    return [cost_row(job, study.train(job)) for job in jobs]


def cost_row(job: Job, trained: TrainedEncoder) -> dict[str, Any]:
    """Return what a training took, how its validation ended, and the encoder's operations."""
    return {
        "data": job.data.log,
        "arm": job.arm.name,
        "seed": job.seed,
        "budget": BUDGETS[job.arm.training],
        "rate": trained.rate,
        "seconds": trained.seconds,
        "targets": trained.targets,
        "targets/s": trained.targets / trained.seconds,
        "validation": trained.validation,
        "slope": trained.slope,
        "start kept": trained.start_kept,
        "MFLOP": trained.encoder.flops(job.arm.length or job.data.length) / 1e6,
    }


def cost_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows of costs as a frame; a curve that is too short leaves its slope empty."""
    return pl.DataFrame(rows, schema_overrides={"slope": pl.Float64}, infer_schema_length=None)


def mean_of_rows(ranks: Ranks) -> dict[str, float]:
    """Return the means over rows of the metrics in the paper's Table 2."""
    means = mean_metrics(ranks)
    return {name: means[name] for name in METRICS}
