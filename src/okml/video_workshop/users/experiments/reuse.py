"""E2: one pre-trained user model under several recommenders, and the effects of changing it."""

from __future__ import annotations

import copy
from typing import Literal, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor

from okml.ledger import Estimate, estimate_difference
from okml.steps import StepResult, announced
from okml.video_workshop.common.data import has_tie_rule
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.study import Study
from okml.video_workshop.users import arms as named
from okml.video_workshop.users.downstream import Consolidated, Ranking, Recommender, Retrieval
from okml.video_workshop.users.evaluation import TASKS, Judge, Task, by_cosine, by_related
from okml.video_workshop.users.experiments.scaling import known_targets, row_losses
from okml.video_workshop.users.trainer import Arm, Base, Job, train_ahead
from okml.video_workshop.users.transfer import Turned, align, trained_parameters

# Tasks that recommenders are compared in, with their names in metrics.
GAINS: tuple[tuple[Literal["retrieval", "ranking"], str], ...] = (
    ("retrieval", "ndcg"),
    ("ranking", "gauc"),
)


ALL_LABELS = ", all labels"  # suffix of an arm's name

ORDERS = 2  # random orders of events with the same user and second


def train_users(study: Study) -> StepResult:
    """Run all trainings of E2 and E7, in parallel on a CPU, and return the costs of E2's."""
    settings, seeds = study.profile.users, study.profile.seeds
    jobs = named.reuse_jobs(settings, seeds)
    grid: list[Job] = [(base, seeds[0]) for base in named.scaling_grid(settings)]
    train_ahead(study.users, jobs + grid)
    rows = []
    for job, seed in dict.fromkeys(jobs):
        if isinstance(job, Base):
            continue
        trained = study.users.recommender(job, seed)
        rows.append(
            {
                "task": job.task,
                "mode": "untrained" if job.untrained else job.mode,
                "base": job.base.name,
                "share": job.share,
                "seed": seed,
                "steps": trained.history.steps,
                "trained parameters": trained_parameters(trained.module),
                "seconds": float(trained.history.frame["seconds"][-1]),
            }
        )
    result = StepResult(frames={"costs": pl.DataFrame(rows)})
    for seed in seeds:
        base = study.users.pretrained(named.the_base(settings), seed)
        result.log("pretraining_seconds", float(base.history.frame["seconds"][-1]), seed=seed)
    return result


def judge_of(study: Study) -> Judge:
    """Return a judge without results."""
    return Judge(study.users, study.profile.evaluation_batch)


def measure_reuse(study: Study) -> StepResult:
    """Compare recommenders trained from scratch with those that transfer the base."""
    settings, seeds = study.profile.users, study.profile.seeds
    judge, share = judge_of(study), settings.label_share
    for arm in named.mode_arms(settings):
        for seed in seeds:
            labels = ALL_LABELS if arm.share > share else ""
            _judge_arm(judge, study, arm, f"{arm.mode}{labels}", seed)
    first, base = seeds[0], named.the_base(settings)
    for task, _ in GAINS:
        if "lora" in settings.extras:
            arm = Arm(task, base, "lora", share)
            _judge_arm(judge, study, arm, "lora", first)
        if "untrained" in settings.extras:
            arm = Arm(task, base, "frozen", share, untrained=True)
            _judge_arm(judge, study, arm, "frozen, untrained", first)
    if "consolidated" in settings.extras:
        _judge_consolidated(judge, study, base, first)
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
    result.log("test_users", len(np.unique(study.users.test.user)))
    result.log("liked_test_rows", len(study.users.liked_test))
    return result


def _order(study: Study, result: StepResult) -> pl.DataFrame:
    """Evaluate the frozen recommender on the same test with other orders of tied events.

    Events of one second have no true order; a model that depends on the file's order would exploit
    a leak. A log of impressions, ordered by the millisecond, has no other order: nothing is logged,
    and a note says so.
    """
    settings, seed = study.profile.users, study.profile.seeds[0]
    arm = Arm("retrieval", named.the_base(settings), "frozen", settings.label_share)
    recommender = study.users.recommender(arm, seed).module
    assert isinstance(recommender, Retrieval)
    if tied := has_tie_rule(study.profile.data.log):
        orders = {"the file's": study.users}
        orders |= {f"drawn, {draw}": study.reordered_users(draw) for draw in range(1, 1 + ORDERS)}
    else:
        orders = {"by the millisecond, the only one": study.users}
        result.notes.append("Impressions are ordered by the millisecond: no other order is drawn.")
    values = []
    for users in orders.values():
        judge = Judge(users, study.profile.evaluation_batch)
        judge.retrieval("frozen", seed, recommender)
        values.append(judge.value("retrieval", "frozen", seed))
    if tied:
        result.log("reordered_ndcg_change", float(np.mean(values[1:])) - values[0])
    return pl.DataFrame({"order inside a second": list(orders), "NDCG@10": values})


def measure_propagation(study: Study) -> StepResult:
    """Compare recommenders on a larger base with recommenders on the smaller one.

    The loss of the larger base itself shows whether it is an improvement. For comparison,
    recommenders without retraining read the new base through the rotation that brings its item
    vectors closest to the old ones.
    """
    settings, seeds = study.profile.users, study.profile.seeds
    judge, result = judge_of(study), StepResult()
    bases = {"smaller": named.smaller_base(settings), "base": named.the_base(settings)}
    for name, base in bases.items():
        for seed in seeds:
            _judge_base(judge, study, base, name, seed)
    rows = []
    for task in TASKS:
        gain = judge.difference(task, "base", "smaller")
        rows.append({"task": task, "change": "larger base", **_interval(gain)})
    result.measure("propagation_smallest_gain", judge.smallest_gain("base", "smaller"))
    test = known_targets(study.users)
    losses = {
        name: {
            seed: row_losses(
                study.users.pretrained(base, seed).module, study.users, test, judge.batch
            )
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


def measure_action_tokens(study: Study) -> StepResult:
    """Compare bases with and without action tokens, and other ablations of the base."""
    settings, seeds = study.profile.users, study.profile.seeds
    judge, result = judge_of(study), StepResult()
    for name, base in (
        ("base", named.the_base(settings)),
        ("no action tokens", named.without_actions(settings)),
    ):
        for seed in seeds:
            _judge_base(judge, study, base, name, seed)
    for extra in settings.extras:
        if extra not in ("lora", "consolidated", "untrained"):
            for seed in named.seeds_of(extra, seeds):
                _judge_base(judge, study, named.variant(settings, extra), extra, seed)
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


def _judge_arm(judge: Judge, study: Study, arm: Arm, name: str, seed: int) -> None:
    """Evaluate one recommender; for retrieval, also related items by its item vectors."""
    with announced(f"{arm.task}: {name}, seed {seed}"):
        recommender = study.users.recommender(arm, seed).module
        if isinstance(recommender, Ranking):
            judge.ranking(name, seed, recommender)
        elif isinstance(recommender, Retrieval):
            judge.retrieval(name, seed, recommender)
            matrix = recommender.model.item_matrix()
            judge.relation(name, seed, by_cosine(matrix))


def _judge_base(judge: Judge, study: Study, base: Base, name: str, seed: int) -> None:
    for arm in named.frozen_pair(study.profile.users, base):
        _judge_arm(judge, study, arm, name, seed)


def _judge_consolidated(judge: Judge, study: Study, base: Base, seed: int) -> None:
    """Evaluate the three recommenders of one model."""
    name = "consolidated"
    arm = Arm("consolidated", base, "full", study.profile.users.label_share)
    with announced(f"{name}, seed {seed}"):
        whole = cast(Consolidated, study.users.recommender(arm, seed).module)
        judge.retrieval(name, seed, whole.retrieval)
        judge.ranking(name, seed, whole.ranking)
        judge.relation(name, seed, by_related(whole.related))


def _swaps(judge: Judge, study: Study, bases: dict[str, Base]) -> pl.DataFrame:
    """Replace the base of recommenders without retraining, with and without a rotation."""
    settings, seeds = study.profile.users, study.profile.seeds
    old, seed = bases["smaller"], seeds[0]
    trainer = study.users
    candidates = {"larger base": (bases["base"], seed)}
    if len(seeds) > 1:
        candidates["same size, trained again"] = (old, seeds[1])
    rows = []
    for arm in named.frozen_pair(settings, old):
        recommender = trainer.recommender(arm, seed).module
        task: Task = "ranking" if isinstance(recommender, Ranking) else "retrieval"
        before = judge.value(task, "smaller", seed)
        for name, (base, other) in candidates.items():
            model = trainer.pretrained(base, other).module.model
            known = torch.from_numpy(trainer.watched.first_seen < trainer.cut)
            turn = align(model.item_matrix()[known], recommender.model.item_matrix()[known])
            for how, rotation in (("turned", turn), ("as it is", torch.eye(*turn.shape))):
                label = f"{name}, {how}"
                _judge_swapped(judge, label, seed, recommender, model, rotation)
                value = judge.value(task, label, seed)
                rows.append(
                    {"task": task, "new base": name, "vectors": how, "before": before,
                     "after": value}
                )  # fmt: skip
    return pl.DataFrame(rows)


def _judge_swapped(
    judge: Judge, name: str, seed: int, recommender: Recommender, model: UserModel, rotation: Tensor
) -> None:
    swapped = copy.deepcopy(recommender)
    swapped.model = Turned(model, rotation.to(next(model.parameters()).device))  # type: ignore[assignment]
    if isinstance(swapped, Ranking):
        judge.ranking(name, seed, swapped)
    elif isinstance(swapped, Retrieval):
        judge.retrieval(name, seed, swapped)


def _table(judge: Judge, reference: str) -> pl.DataFrame:
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


def _auc_table(judge: Judge) -> pl.DataFrame:
    return pl.DataFrame(
        [{"arm": name, "seed": seed, **judge.auc(name, seed)} for name, seed in judge.logits]
    )


def _interval(estimate: Estimate) -> dict[str, float | None]:
    return {"difference": estimate.mean, "low": estimate.low, "high": estimate.high}
