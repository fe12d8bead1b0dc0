"""One pre-trained user model under several recommenders, and the effects of changing it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import polars as pl

from okml.ledger import estimate_difference
from okml.steps import StepResult, announced
from okml.training.ahead import train_ahead
from okml.video_workshop.common.data import has_tie_rule
from okml.video_workshop.common.intervals import interval
from okml.video_workshop.settings.users import UserTable
from okml.video_workshop.users.arms import (
    ALL_LABELS,
    FOR_LONGER,
    NO_ACTIONS,
    SINGLE_TASK,
    TABLES,
    RecommenderTask,
    TableRow,
    UserArm,
    ablation_rows,
    all_jobs,
    frozen,
    reuse_rows,
    size_rows,
    smaller_base,
    the_base,
)
from okml.video_workshop.users.evaluation import (
    TASKS,
    PairedEvaluation,
    known_targets,
    row_losses,
)
from okml.video_workshop.users.study import UsersStudy

# Item representations that are compared with rows alone, by their name in metrics. Of several the
# one with the best retrieval in validation is.
READ: dict[str, tuple[UserTable, ...]] = {
    "content": ("hybrid_content", "content_sum"), "semantic_id": ("hybrid_sid",)
}  # fmt: skip
ORDERS = 2  # random orders of events with the same user and second


def train_users(study: UsersStudy) -> StepResult:
    """Run all trainings of the theme, in parallel, and return the costs of the recommenders."""
    jobs, rows = all_jobs(study.profile), []
    train_ahead(study, jobs)
    for job in jobs:
        assert isinstance(job.what, UserArm)
        arm, trained = job.what, study.recommender(job.what, job.seed)
        changed = (part for part in trained.module.parameters() if part.requires_grad)
        rows.append(
            {
                "task": arm.task,
                "mode": arm.mode,
                "base": arm.base.name,
                "share": arm.share,
                "seed": job.seed,
                "steps": trained.history.steps,
                "best step": trained.history.best_step,
                "trained parameters": sum(part.numel() for part in changed),
                "seconds": float(trained.history.frame["seconds"][-1]),
            }
        )
    return StepResult(frames={"costs": pl.DataFrame(rows)})


def evaluated(study: UsersStudy, rows: Iterable[TableRow]) -> PairedEvaluation:
    """Return the ranks and logits of the recommenders of a table, and their curves."""
    found = PairedEvaluation(study)
    for name, job in rows:
        assert isinstance(job.what, UserArm)
        with announced(f"{job.what.task}: {name}, seed {job.seed}"):
            trained = study.recommender(job.what, job.seed)
            found.add(name, job.seed, trained.module)
            found.histories[job.what.task][name, job.seed] = trained.history
    return found


def measure_reuse(study: UsersStudy) -> StepResult:
    """Compare recommenders that transfer the base with those trained from scratch.

    They are also compared with those that transfer a base of a single task.
    """
    judge, result = evaluated(study, reuse_rows(study.profile)), StepResult()
    result.frames["reuse"] = _table(judge, reference="scratch")
    compared = {"reuse": ""}
    if study.settings.downstream.steps_all_labels:
        compared["reuse_all_labels"] = ALL_LABELS
    for name, labels in compared.items():
        full, scratch, single = f"full{labels}", f"scratch{labels}", f"{SINGLE_TASK}{labels}"
        result.measure(f"{name}_smallest_gain", judge.smallest_gain(full, scratch))
        result.log(f"{name}_still_rising", _still_rising(judge, full, scratch), exact=True)
        result.measure(f"{name}_ndcg_gain", judge.difference("retrieval", full, scratch))
        result.measure(f"{name}_gauc_gain", judge.difference("ranking", full, scratch))
        result.measure(f"{name}_single_task_smallest_gain", judge.smallest_gain(full, single))
        rising = _still_rising(judge, full, single)
        result.log(f"{name}_single_task_still_rising", rising, exact=True)
    result.frames["order"] = _order(study, result)
    result.log("test_users", len(np.unique(study.test.user)))
    return result


def _order(study: UsersStudy, result: StepResult) -> pl.DataFrame:
    """Evaluate the frozen recommender on the same test with other orders of tied events.

    Events of one second have no true order, so another one should change nothing; a model that
    depends on the file's order exploits a leak. A log that is ordered by the millisecond has no
    other order: nothing is logged, and a note says so.
    """
    settings, seed = study.settings, study.profile.seeds[0]
    arm = frozen(settings, "retrieval", the_base(settings))
    recommender = study.recommender(arm, seed).module
    if tied := has_tie_rule(study.profile.data.log):
        orders = {"of the training": study}
        draws = range(1, 1 + ORDERS)
        orders |= {f"drawn, {draw}": study.reordered("random", draw) for draw in draws}
        orders["of the file"] = study.reordered("file")
    else:
        orders = {"by the millisecond, the only one": study}
        result.notes.append("Events are ordered by the millisecond: no other order is drawn.")
    values = []
    for users in orders.values():
        judge = PairedEvaluation(users)
        judge.add("frozen", seed, recommender)
        values.append(judge.value("retrieval", "frozen", seed))
    if tied:
        own, *drawn, file = values
        result.log("reordered_ndcg_change", float(np.mean(drawn)) - own)
        result.log("file_order_ndcg_change", file - own)
    return pl.DataFrame({"order inside a second": list(orders), "NDCG@10": values})


def measure_propagation(study: UsersStudy) -> StepResult:
    """Compare recommenders on a larger base with recommenders on the smaller one.

    The loss of the larger base itself shows whether it is an improvement.
    """
    settings, result = study.settings, StepResult()
    judge = evaluated(study, size_rows(study.profile))
    result.frames["propagation"] = _table(judge, reference="smaller")
    result.measure("propagation_smallest_gain", judge.smallest_gain("base", "smaller"))
    result.measure("longer_smallest_gain", judge.smallest_gain(FOR_LONGER, "smaller"))
    beyond = judge.smallest_gain("base", FOR_LONGER)
    result.compare("propagation_smallest_gain", "longer_smallest_gain", beyond)
    test = known_targets(study)
    smaller, larger = (
        {seed: row_losses(study.pretrained(base, seed).module, study, test)
         for seed in study.profile.seeds}
        for base in (smaller_base(settings), the_base(settings))
    )  # fmt: skip
    saved = estimate_difference(smaller, larger, "users", clusters=test.user)
    result.measure("larger_base_loss_saved", saved, "nats")
    result.frames["own_loss"] = pl.DataFrame([interval(saved, "nats saved")])
    return result


def measure_action_tokens(study: UsersStudy) -> StepResult:
    """Compare bases with and without action tokens, and other ablations of the base."""
    judge, result = evaluated(study, ablation_rows(study.profile)), StepResult()
    arms, gain = {*judge.arms("retrieval")}, "action_token_ndcg_gain"
    result.measure(gain, judge.difference("retrieval", "base", NO_ACTIONS))
    if "shuffled" in arms:
        shuffled = "shuffled_action_ndcg_gain"
        result.measure(shuffled, judge.difference("retrieval", "shuffled", NO_ACTIONS))
        result.compare(gain, shuffled, judge.difference("retrieval", "base", "shuffled"))
    for metric, arm, reference in (
        ("intents_ndcg_gain_pct", "intents", "base"),
        ("free_intents_ndcg_gain_pct", "intents_free", "base"),
        ("multi_task_ndcg_gain_pct", "base", "item_alone"),
    ):
        if {arm, reference} <= arms:
            result.measure(metric, judge.percent(arm, reference, base="base"), "%")
    if {"intents", "intents_free"} <= arms:
        prediction = judge.percent("intents", "intents_free", base="base")
        result.compare("intents_ndcg_gain_pct", "free_intents_ndcg_gain_pct", prediction)
    named: dict[UserTable, str] = {study.settings.table: "base"}
    named |= {table: arm for arm, table in TABLES.items() if arm in arms}
    for metric, tables in READ.items():
        read = [named[table] for table in tables if table in named]
        if read and "id" in named:
            best = max(read, key=partial(judge.validated, "retrieval"))
            result.measure(f"{metric}_base_smallest_gain", judge.smallest_gain(best, named["id"]))
    result.frames["ablations"] = _table(judge, reference="base")
    return result


def _still_rising(judge: PairedEvaluation, *arms: str) -> int:
    """Count the recommenders of some arms that ended before validation was flat."""
    return sum(judge.rising(task, arm) for task in judge.histories for arm in arms)


def _table(judge: PairedEvaluation, reference: str) -> pl.DataFrame:
    """Return a row for each arm and task: its metric, and the difference from a reference.

    Related items are found by the vectors of retrieval, so they have its training.
    """
    rows = []
    for task in TASKS:
        for name in judge.arms(task):
            seeds = judge.seeds(task, name)
            trained: RecommenderTask = "ranking" if task == "ranking" else "retrieval"
            row = {
                "task": task,
                "arm": name,
                "seeds": len(seeds),
                "still rising": judge.rising(trained, name),
                "validation": judge.validated(trained, name),
                "value": float(np.mean([judge.value(task, name, seed) for seed in seeds])),
            }
            if name != reference:
                row |= interval(judge.difference(task, name, reference))
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)
