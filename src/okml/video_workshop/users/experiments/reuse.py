"""E2: one pre-trained user model under several recommenders, and the effects of changing it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Literal, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor

from okml.ledger import Estimate, estimate_difference
from okml.steps import StepResult, announced
from okml.training.ahead import train_ahead
from okml.video_workshop.common.data import has_tie_rule
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.users.arms import (
    ALL_LABELS,
    Arm,
    Base,
    TableRow,
    ablation_rows,
    all_jobs,
    frozen_pair,
    reuse_rows,
    size_rows,
    smaller_base,
    the_base,
)
from okml.video_workshop.users.downstream import (
    Consolidated,
    DownstreamModel,
    RankingModel,
    Retrieval,
)
from okml.video_workshop.users.evaluation import (
    TASKS,
    PairedEvaluation,
    Task,
    by_cosine,
    by_related,
)
from okml.video_workshop.users.experiments.scaling import known_targets, row_losses
from okml.video_workshop.users.study import UsersStudy
from okml.video_workshop.users.transfer import Turned, align, trained_parameters

# Tasks that recommenders are compared in, with their names in metrics.
GAINS: tuple[tuple[Literal["retrieval", "ranking"], str], ...] = (
    ("retrieval", "ndcg"),
    ("ranking", "gauc"),
)
ORDERS = 2  # random orders of events with the same user and second


def train_users(study: UsersStudy) -> StepResult:
    """Run all trainings of E2 and E7, in parallel, and return the costs of E2's."""
    train_ahead(study, all_jobs(study.profile))
    rows = []
    for job in all_jobs(study.profile):
        if isinstance(job.what, Base):
            continue
        arm, trained = job.what, study.recommender(job.what, job.seed)
        rows.append(
            {
                "task": arm.task,
                "mode": "untrained" if arm.untrained else arm.mode,
                "base": arm.base.name,
                "share": arm.share,
                "seed": job.seed,
                "steps": trained.history.steps,
                "trained parameters": trained_parameters(trained.module),
                "seconds": float(trained.history.frame["seconds"][-1]),
            }
        )
    result = StepResult(frames={"costs": pl.DataFrame(rows)})
    for seed in study.profile.seeds:
        base = study.pretrained(the_base(study.settings), seed)
        result.log("pretraining_seconds", float(base.history.frame["seconds"][-1]), seed=seed)
    return result


def evaluated(study: UsersStudy, rows: Iterable[TableRow]) -> PairedEvaluation:
    """Return the ranks and logits of the recommenders of a table."""
    found = PairedEvaluation(study, study.profile.evaluation_batch)
    for name, job in rows:
        assert isinstance(job.what, Arm)
        with announced(f"{job.what.task}: {name}, seed {job.seed}"):
            _evaluate(found, name, job.seed, study.recommender(job.what, job.seed).module)
    return found


@torch.no_grad()
def _evaluate(judge: PairedEvaluation, name: str, seed: int, recommender: DownstreamModel) -> None:
    """Evaluate a recommender; for retrieval, also related items by its item vectors."""
    match recommender:
        case RankingModel():
            judge.ranking(name, seed, recommender)
        case Retrieval():
            judge.retrieval(name, seed, recommender)
            judge.relation(name, seed, by_cosine(recommender.model.item_matrix()))
        case Consolidated():  # the three recommenders of one model
            judge.retrieval(name, seed, recommender.retrieval)
            judge.ranking(name, seed, recommender.ranking)
            judge.relation(name, seed, by_related(recommender.related))


def measure_reuse(study: UsersStudy) -> StepResult:
    """Compare recommenders trained from scratch with those that transfer the base."""
    settings, judge = study.settings, evaluated(study, reuse_rows(study.profile))
    result = StepResult()
    result.frames["reuse"] = _table(judge, reference="scratch")
    result.frames["auc"] = _auc_table(judge)
    compared = {"reuse": "", "reuse_all_labels": ALL_LABELS} if "full" in settings.modes else {}
    for name, labels in compared.items():
        full, scratch = f"full{labels}", f"scratch{labels}"
        result.measure(f"{name}_smallest_gain", judge.smallest_gain(full, scratch))
        for task, metric in GAINS:
            result.measure(f"{name}_{metric}_gain", judge.difference(task, full, scratch))
    result.frames["order"] = _order(study, result)
    result.log("test_users", len(np.unique(study.test.user)))
    result.log("liked_test_rows", len(study.liked_test))
    return result


def _order(study: UsersStudy, result: StepResult) -> pl.DataFrame:
    """Evaluate the frozen recommender on the same test with other orders of tied events.

    Events of one second have no true order; a model that depends on the file's order would exploit
    a leak. A log of impressions, ordered by the millisecond, has no other order: nothing is logged,
    and a note says so.
    """
    settings, seed = study.settings, study.profile.seeds[0]
    arm, _ = frozen_pair(settings, the_base(settings))
    recommender = cast(Retrieval, study.recommender(arm, seed).module)
    if tied := has_tie_rule(study.profile.data.log):
        orders = {"the file's": study}
        orders |= {f"drawn, {draw}": study.reordered(draw) for draw in range(1, 1 + ORDERS)}
    else:
        orders = {"by the millisecond, the only one": study}
        result.notes.append("Impressions are ordered by the millisecond: no other order is drawn.")
    values = []
    for users in orders.values():
        judge = PairedEvaluation(users, study.profile.evaluation_batch)
        judge.retrieval("frozen", seed, recommender)
        values.append(judge.value("retrieval", "frozen", seed))
    if tied:
        result.log("reordered_ndcg_change", float(np.mean(values[1:])) - values[0])
    return pl.DataFrame({"order inside a second": list(orders), "NDCG@10": values})


def measure_propagation(study: UsersStudy) -> StepResult:
    """Compare recommenders on a larger base with recommenders on the smaller one.

    The loss of the larger base itself shows whether it is an improvement. For comparison,
    recommenders without retraining read the new base through the rotation that brings its item
    vectors closest to the old ones.
    """
    settings, seeds = study.settings, study.profile.seeds
    judge, result = evaluated(study, size_rows(study.profile)), StepResult()
    bases = {"smaller": smaller_base(settings), "base": the_base(settings)}
    rows = []
    for task in TASKS:
        gain = judge.difference(task, "base", "smaller")
        rows.append({"task": task, "change": "larger base", **_interval(gain)})
    result.measure("propagation_smallest_gain", judge.smallest_gain("base", "smaller"))
    test = known_targets(study)
    losses = {
        name: {
            seed: row_losses(study.pretrained(base, seed).module, study, test, judge.batch)
            for seed in seeds
        }
        for name, base in bases.items()
    }
    saved = estimate_difference(losses["smaller"], losses["base"], "users", clusters=test.user)
    result.measure("larger_base_loss_saved", saved, "nats")
    result.frames["own_loss"] = pl.DataFrame([{"nats saved": saved.mean, **_interval(saved)}]).drop(
        "difference"
    )
    result.frames["propagation"] = pl.DataFrame(rows)
    result.frames["swaps"] = _swaps(judge, study, bases)
    return result


def measure_action_tokens(study: UsersStudy) -> StepResult:
    """Compare bases with and without action tokens, and other ablations of the base."""
    settings, seeds = study.settings, study.profile.seeds
    judge, result = evaluated(study, ablation_rows(study.profile)), StepResult()
    for task, metric in GAINS:
        pair = ("base", "no action tokens")
        result.measure(f"action_token_{metric}_gain", judge.difference(task, *pair))
        if "shuffled" in settings.extras:
            pair = ("shuffled", "no action tokens")
            result.measure(f"shuffled_action_{metric}_gain", judge.difference(task, *pair))
            result.compare(f"action_token_{metric}_gain", f"shuffled_action_{metric}_gain",
                           judge.difference(task, "base", "shuffled"))  # fmt: skip
    for extra, name in (("intents", "intents"), ("intents_free", "free_intents"),
                        ("item_alone", "item_alone")):  # fmt: skip
        if extra in settings.extras:
            gain = judge.percent(extra, "base", base="base")
            result.measure(f"{name}_ndcg_gain_pct", gain, "%")
    if {"intents", "intents_free"} <= set(settings.extras):
        prediction = judge.percent("intents", "intents_free", base="base")
        result.compare("intents_ndcg_gain_pct", "free_intents_ndcg_gain_pct", prediction)
    for seed in seeds:
        known, unknown = (judge.auc(name, seed) for name in ("base", "no action tokens"))
        auc_gain = np.mean([known[task] - unknown[task] for task in known])
        result.log("action_token_auc_gain", float(auc_gain), seed=seed)
    result.frames["ablations"] = _table(judge, reference="base")
    return result


@torch.no_grad()
def _swaps(judge: PairedEvaluation, study: UsersStudy, bases: dict[str, Base]) -> pl.DataFrame:
    """Replace the base of recommenders without retraining, with and without a rotation."""
    settings, seeds = study.settings, study.profile.seeds
    old, seed = bases["smaller"], seeds[0]
    candidates = {"larger base": (bases["base"], seed)}
    if len(seeds) > 1:
        candidates["same size, trained again"] = (old, seeds[1])
    rows = []
    for arm in frozen_pair(settings, old):
        recommender = study.recommender(arm, seed).module
        task = cast(Task, arm.task)
        before = judge.value(task, "smaller", seed)
        for name, (base, other) in candidates.items():
            model = study.pretrained(base, other).module.model
            known = torch.from_numpy(study.watched.first_seen < study.cut)
            turn = align(model.item_matrix()[known], recommender.model.item_matrix()[known])
            for how, rotation in (("turned", turn), ("as it is", torch.eye(*turn.shape))):
                label = f"{name}, {how}"
                _evaluate_swapped(judge, label, seed, recommender, model, rotation)
                value = judge.value(task, label, seed)
                rows.append(
                    {"task": task, "new base": name, "vectors": how, "before": before,
                     "after": value}
                )  # fmt: skip
    return pl.DataFrame(rows)


def _evaluate_swapped(
    judge: PairedEvaluation, name: str, seed: int, recommender: DownstreamModel, model: UserModel,
    rotation: Tensor,
) -> None:  # fmt: skip
    swapped = copy.deepcopy(recommender)
    swapped.model = Turned(model, rotation.to(next(model.parameters()).device))  # type: ignore[assignment]
    if isinstance(swapped, RankingModel):
        judge.ranking(name, seed, swapped)
    elif isinstance(swapped, Retrieval):
        judge.retrieval(name, seed, swapped)


def _table(judge: PairedEvaluation, reference: str) -> pl.DataFrame:
    """Return a row for each arm and task: its metric, and the difference from a reference."""
    rows = []
    for task in TASKS:
        for name, seeds in judge.judged(task).items():
            row = {
                "task": task,
                "arm": name,
                "seeds": len(seeds),
                "value": float(np.mean([judge.value(task, name, seed) for seed in seeds])),
            }
            if name != reference:
                row |= _interval(judge.difference(task, name, reference))
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def _auc_table(judge: PairedEvaluation) -> pl.DataFrame:
    return pl.DataFrame(
        [{"arm": name, "seed": seed, **judge.auc(name, seed)} for name, seed in judge.logits]
    )


def _interval(estimate: Estimate) -> dict[str, float | None]:
    return {"difference": estimate.mean, "low": estimate.low, "high": estimate.high}
