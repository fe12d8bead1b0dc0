"""The effect of stage 2 on the policy: weights, agreement with the log, KL from stage 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch

from okml.offline_rl.arms import ARMS, CONTROL, Job, quality_jobs, start_jobs
from okml.offline_rl.comparison import RewardedArms
from okml.offline_rl.study import Study
from okml.seqrec.encoder import Encoder
from okml.steps import StepResult

STATES = 512  # number of test states on which policies are compared
WEIGHTS = (
    "weight_wanted", "weight_other", "let_through", "effective_share", "advantage_sd", "value_mean",
)  # fmt: skip
NEARLY_CLONING = 0.1  # relative difference of mean weights of wanted and other actions


def measure_filters(study: Study) -> StepResult:
    """Measure every arm after its last step, so that all have taken the same number of steps."""
    profile, result = study.profile, StepResult()
    data = study.data(profile.main)
    comparison = RewardedArms.of(data)
    rows = []
    for job in quality_jobs(profile, profile.main):
        arm = ARMS[job.arm]
        if arm.model != "transformer":
            continue
        trained = study.train(job)
        comparison.add(job.arm, job.seed, study.rank(trained.last, data))
        divergence, entropy = _compare_policies(
            study, trained.last, study.train(job.stage1).encoder
        )
        rows.append(
            {
                "arm": arm.name,
                "label": arm.label,
                "seed": job.seed,
                "HR@10": comparison.metric(arm.name, "hr@10", job.seed),
                "gap": comparison.liked_gap(arm.name, job.seed),
                **_weights(trained.history.frame),
                "KL from stage 1": divergence,
                "entropy": entropy,
            }
        )
    liked, rest = pl.col("weight_wanted"), pl.col("weight_other")  # null without weights
    alike = (liked - rest).abs() < NEARLY_CLONING * pl.max_horizontal(liked, rest, 1e-12)
    frame = pl.DataFrame(rows, infer_schema_length=None)
    result.frames["filters"] = frame.with_columns(alike.alias("nearly cloning"))
    gaps = {
        CONTROL: "liked_gap_supervised",
        "crr_binary_dealt": "liked_gap_binary_dealt",
        "crr_binary": "liked_gap_binary",
        "crr": "liked_gap_crr",
        "filter_bc": "liked_gap_filtered",
    }
    run = [name for name in gaps if name in comparison.arms]
    for name in run:
        result.measure(gaps[name], comparison.liked_gap_estimate(name))
    for name, other in (("crr_binary", "crr_binary_dealt"), *((name, CONTROL) for name in run[1:])):
        if {name, other} <= set(run):
            less = comparison.liked_gap_estimate(name, less=other)
            result.compare(gaps[name], gaps[other], less)
    hits = (
        ("crr_beta1", CONTROL, "exp_filter_hr10_difference"),
        ("crr", CONTROL, "greedy_filter_hr10_difference"),
        # What unequal weights do by themselves, and what the choice of their actions adds: dealt
        # weights are those of CRR's actor and critic at the same step.
        ("crr_dealt", CONTROL, "greedy_dealt_hr10_difference"),
        ("crr", "crr_dealt", "greedy_filter_hr10_gain_over_dealt"),
        ("crr_binary_dealt", CONTROL, "binary_dealt_hr10_difference"),
        ("crr_binary", "crr_binary_dealt", "binary_filter_hr10_gain_over_dealt"),
    )
    for name, other, metric in hits:
        if {name, other} <= set(comparison.arms):
            result.measure(metric, comparison.difference(name, other, "hr@10"))
    on_wanted = comparison.on_wanted()
    for name in ("crr_binary", "filter_bc"):
        if name in comparison.arms:
            difference = on_wanted.difference(name, CONTROL, "hr@10")
            result.measure(f"{name}_hr10_difference_on_liked", difference)
    return result


def measure_starts(study: Study) -> StepResult:
    """Measure fine-tuning after stages 1 of other lengths, with CRR's weights and equal ones."""
    profile, result = study.profile, StepResult()
    data = study.data(profile.main)
    comparison = RewardedArms.of(data)
    jobs: dict[tuple[int, str], Job] = {}  # a training of any seed, by epochs and arm
    for job in start_jobs(profile):
        for each in (job.stage1, job):
            comparison.add(each.name, job.seed, study.rank(study.train(each).encoder, data))
        jobs[job.stage1_epochs or profile.main.stage1.epochs, job.arm] = job
    rows, earliest = [], min(epochs for epochs, _ in jobs)
    for (epochs, arm), job in jobs.items():
        before, after = job.stage1.name, job.name
        ratio = comparison.ratio(after, before, "ndcg@10")
        rows.append(
            {
                "epochs of stage 1": epochs,
                "stage 2": ARMS[arm].label,
                "NDCG@10 before": comparison.estimate(before, "ndcg@10").mean,
                "NDCG@10 after": comparison.estimate(after, "ndcg@10").mean,
                "ratio": ratio.mean,
            }
        )
        if epochs == earliest:
            metric = "early_ratio_supervised" if arm == CONTROL else "early_ratio_crr"
            result.measure(metric, ratio)
            if arm == CONTROL:
                open_ends = [not study.tried(each).bracketed for each in (job, job.stage1)]
                result.log("unbracketed_early_start", sum(open_ends), exact=True)
    result.frames["starts"] = pl.DataFrame(rows).sort("epochs of stage 1", maintain_order=True)
    return result


def _weights(frame: pl.DataFrame) -> dict[str, Any]:
    """Return mean statistics of weights in the last quarter of a training; None if not logged.

    Dealt weights come before those of the actor from which they are taken.
    """
    late = frame.filter(pl.col("step") > 0.75 * pl.col("step").max())
    found: dict[str, Any] = dict.fromkeys(WEIGHTS)
    for name in WEIGHTS:
        logged = [each for each in (f"dealt/{name}", f"crr/{name}") if each in late.columns]
        if logged:
            found[name] = late[logged[0]].drop_nulls().mean()
    return found


@torch.inference_mode()
def _compare_policies(study: Study, policy: Encoder, stage1: Encoder) -> tuple[float, float]:
    """Return the mean Kullback-Leibler divergence from stage 1, and the entropy, in nats."""
    data = study.data(study.profile.main)
    drawn = np.random.default_rng(0).permutation(len(data.test))[:STATES]
    rows = data.test.take(np.sort(drawn))
    source = data.histories(rows, study.device)
    batch = source.batch(np.arange(len(rows)), np.random.default_rng(0))
    logs = [
        (model.last(batch.items) @ model.item_matrix()[1:].T).float().log_softmax(1)
        for model in (policy, stage1)
    ]
    probability = logs[0].exp()
    divergence = (probability * (logs[0] - logs[1])).sum(1).mean()
    return float(divergence), float(-(probability * logs[0]).sum(1).mean())
