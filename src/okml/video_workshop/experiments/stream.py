"""E6: left alone, updated or retrained; new items; a shock; how often to update; two shops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from okml.seqrec.comparison import RankedArms
from okml.seqrec.metrics import Floats, hit, row_metrics
from okml.seqrec.ranking import Ranks
from okml.steps import StepResult, announced
from okml.video_workshop.items.arms import LABELS as TABLES
from okml.video_workshop.stream.arms import CONTENT_TABLES, LABELS, Arm
from okml.video_workshop.stream.launches import (
    age_slices,
    days_to_first_hit,
    days_until_found,
    found_by,
)
from okml.video_workshop.stream.prequential import judge, per_period
from okml.video_workshop.stream.runs import Job, StreamRuns, run_ahead
from okml.video_workshop.stream.shocks import windows_until
from okml.video_workshop.stream.worlds import World
from okml.video_workshop.study import Study
from okml.video_workshop.users.transfer import align

METRIC = "hr@10"
STALE, UPDATED, OLD_EVENTS, RETRAINED = (
    Arm("stale"), Arm("incremental"), Arm("rehearsal"), Arm("retrain"),
)  # fmt: skip
STALE_ROWS, UPDATED_ROWS = (Arm(name, model="factorization") for name in ("stale", "incremental"))
STALE_SHOCK, UPDATED_SHOCK, RETRAINED_SHOCK = (
    Arm(name, shock=True) for name in ("stale", "incremental", "retrain")
)
EXPIRING = Arm("incremental", model="expiring")
FOUND_BY = (7, 28)  # days
RECOVERED = 0.95  # of what was there before a shock


def freshness_jobs(runs: StreamRuns) -> list[Job]:
    """Return the strategies on the chapter's log; user rows and some strategies with one seed."""
    weekly, seeds = runs.settings.weekly, runs.study.profile.seeds
    jobs = [Job(Arm(name), seed) for name in weekly.arms for seed in seeds]
    jobs += [Job(Arm(name), seeds[0]) for name in weekly.more_arms]
    return [*jobs, Job(STALE_ROWS, seeds[0]), Job(UPDATED_ROWS, seeds[0])]


def new_item_jobs(runs: StreamRuns) -> list[Job]:
    """Return first rows of new items, rows that expire, smaller steps, and tables of content."""
    seed, weekly = runs.study.profile.seeds[0], runs.settings.weekly
    arms = [UPDATED, *(Arm("incremental", new_rows=kind) for kind in weekly.new_rows), EXPIRING]
    if (batch := weekly.small_batch) is not None:
        arms.append(Arm("incremental", batch=batch))
    for table in weekly.tables:
        arms += [Arm("stale", model=table), Arm("incremental", model=table)]
        if batch is not None and table == weekly.tables[0]:
            arms.append(Arm("incremental", model=table, batch=batch))
    return [Job(arm, seed) for arm in (STALE, *arms)]


def shock_jobs(runs: StreamRuns) -> list[Job]:
    """Return strategies on the stream whose users' taste shifts, if the scale has one."""
    if runs.settings.weekly.shock is None:
        return []
    arms = (STALE_SHOCK, UPDATED_SHOCK, RETRAINED_SHOCK)
    return [Job(arm, runs.study.profile.seeds[0]) for arm in arms]


def shard_jobs(runs: StreamRuns) -> list[Job]:
    """Return updates at other intervals."""
    seed, shards = runs.study.profile.seeds[0], runs.settings.weekly.shards
    return [Job(Arm("incremental", shards=number), seed) for number in sorted({1.0, *shards})]


def session_jobs(runs: StreamRuns) -> list[Job]:
    """Return ADER's strategies on each log of sessions."""
    seed = runs.study.profile.seeds[0]
    return [
        Job(Arm(name, log=number), seed)
        for number, settings in enumerate(runs.settings.sessions)
        for name in settings.arms
    ]


def _start(study: Study) -> StreamRuns:
    """Carry out all runs of E6 that are not kept yet, side by side."""
    runs = StreamRuns(study)
    groups = (freshness_jobs, new_item_jobs, shock_jobs, shard_jobs, session_jobs)
    with announced("runs over streams"):
        run_ahead(runs, list(dict.fromkeys(job for group in groups for job in group(runs))))
    return runs


def measure_freshness(study: Study) -> StepResult:
    """Compare strategies on the weeks that follow the base: quality, cost, age of items."""
    runs, result = _start(study), StepResult()
    world, jobs = runs.world(), freshness_jobs(runs)
    compared = _compare(study, runs, world, jobs, world.drawn)
    gain = compared.difference(UPDATED.name, STALE.name, METRIC)
    for seed in study.profile.seeds:
        value = {arm: compared.metric(arm, METRIC, seed) for arm in compared.arms
                 if seed in compared.seeds(arm)}  # fmt: skip
        gained = value[UPDATED.name] - value[STALE.name]
        result.log("incremental_hr10_gain", gained, seed=seed, interval=(gain.low, gain.high))
        if OLD_EVENTS.name in value:
            old = value[OLD_EVENTS.name] - value[STALE.name]
            result.log("rehearsal_hr10_gain", old, seed=seed)
        if RETRAINED.name in value:
            _log_retraining(result, runs, seed, gained, value[RETRAINED.name] - value[STALE.name])
    result.frames["strategies"] = _table(runs, compared, jobs, STALE.name)
    result.frames["curves"] = _curves(world, runs, jobs)
    result.frames["ages"] = _ages(world, runs, jobs)
    result.frames["users"] = _users(world, runs, jobs)
    return result


def _log_retraining(
    result: StepResult, runs: StreamRuns, seed: int, gained: float, most: float
) -> None:
    update, retraining = (runs.passage(arm, seed).effort for arm in (UPDATED, RETRAINED))
    result.log("incremental_cost_ratio", update.samples / retraining.samples, seed=seed)
    result.log("incremental_cpu_ratio", update.seconds / retraining.seconds, seed=seed)
    result.log("incremental_share_of_retraining", gained / most if most else np.nan, seed=seed)


def measure_new_items(study: Study) -> StepResult:
    """Compare what may find new items: first rows, rows that expire, smaller steps, content."""
    runs, result = _start(study), StepResult()
    world, jobs = runs.world(), new_item_jobs(runs)
    compared = _compare(study, runs, world, jobs, world.drawn)
    result.frames["new_rows"] = _table(runs, compared, jobs, UPDATED.name)
    result.frames["new_row_ages"] = _ages(world, runs, jobs)
    result.frames["found"] = _found(world, runs, jobs)
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
    """Recommend by the histories' vectors of one base and the items' vectors of another."""
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
            base, world.stream, rows, world.first, trainer.settings.model.length,
            batch_size=study.profile.evaluation_batch, item_matrix=matrix,
        )  # fmt: skip
        found.append({"item vectors": name, **_means(row_metrics(ranks, (10,)))})
    return pl.DataFrame(found)


def measure_shock(study: Study) -> StepResult:
    """Let the taste of users shift, and see who notices, and after how many windows.

    The spec's recovery: a lead over the model left alone as large as 95 % of that which retraining
    had before the shock. Where that lead was next to nothing it says little, so the windows until
    HR@10 is back at 95 % of what it was stand beside it.
    """
    runs, result = _start(study), StepResult()
    curves, recovery = [], []
    if (shock := runs.settings.weekly.shock) is not None:
        world = runs.world(shock=True)
        drawn = world.rows.take(world.drawn)
        hits = {job.arm: hit(runs.passage(*job).ranks[world.drawn], 10) for job in shock_jobs(runs)}
        after = world.period[world.drawn] >= shock.period
        left_alone = hits[STALE_SHOCK]
        gap = float((hits[RETRAINED_SHOCK] - left_alone)[~after].mean())
        for arm, found in hits.items():
            periods, values = per_period(found, drawn, world.stream)
            _, leads = per_period(found - left_alone, drawn, world.stream)
            late = periods >= shock.period
            named = {"arm": arm.name, "label": label(arm)}
            curves += [
                {**named, "period": int(period), "shocked": bool(period >= shock.period),
                 "HR@10": float(value), "lead": float(lead)}
                for period, value, lead in zip(periods, values, leads, strict=True)
            ]  # fmt: skip
            recovery.append(
                {
                    **named,
                    "HR@10 before": float(found[~after].mean()),
                    "HR@10 after": float(found[after].mean()),
                    "lead before": float((found - left_alone)[~after].mean()),
                    "lead after": float((found - left_alone)[after].mean()),
                    "windows to the old lead": (
                        windows_until(leads[late], RECOVERED * gap) if gap > 0 else None
                    ),
                    "windows to the old HR@10": windows_until(
                        values[late], RECOVERED * float(found[~after].mean())
                    ),
                }
            )
        lead = hits[UPDATED_SHOCK] - left_alone
        result.log("shock_updated_lead_before", float(lead[~after].mean()))
        result.log("shock_updated_lead_after", float(lead[after].mean()))
    result.frames["shock"] = pl.DataFrame(curves, schema=_SHOCK)
    result.frames["recovery"] = pl.DataFrame(recovery, schema=_RECOVERY)
    return result


_SHOCK = {"arm": pl.String, "label": pl.String, "period": pl.Int64, "shocked": pl.Boolean,
          "HR@10": pl.Float64, "lead": pl.Float64}  # fmt: skip
_RECOVERY = {"arm": pl.String, "label": pl.String, "HR@10 before": pl.Float64,
             "HR@10 after": pl.Float64, "lead before": pl.Float64, "lead after": pl.Float64,
             "windows to the old lead": pl.Int64, "windows to the old HR@10": pl.Int64}  # fmt: skip


def measure_shards(study: Study) -> StepResult:
    """Update more and less often than once a period: Monolith's interval of synchronization."""
    runs, result = _start(study), StepResult()
    jobs = shard_jobs(runs)
    compared = _compare(study, runs, runs.world(), jobs, runs.world().drawn)
    frame = _table(runs, compared, jobs, UPDATED.name)
    shards = [job.arm.shards for job in jobs]
    days = [runs.settings.weekly.days / number for number in shards]
    result.frames["shards"] = frame.with_columns(
        pl.Series("updates a period", shards), pl.Series("days between updates", days)
    )
    often, seldom = (f"hr@10 of {name} updates" for name in ("most", "fewest"))
    values = frame["HR@10"].to_list()
    result.log("frequent_update_hr10_gain", values[-1] - values[0])
    result.notes.append(f"{often} {values[-1]:.4f}, {seldom} {values[0]:.4f}.")
    return result


def measure_sessions(study: Study) -> StepResult:
    """Run ADER's strategies on its own logs, reduced: Recall@20 and MRR@20 of each period."""
    runs, result = _start(study), StepResult()
    rows = []
    for job in session_jobs(runs):
        assert job.arm.log is not None
        world = runs.world(job.arm.log)
        passage = runs.passage(*job)
        metrics = row_metrics(passage.ranks, (20,))
        periods, recall = per_period(metrics["hr@20"], world.rows, world.stream)
        _, reciprocal = per_period(metrics["mrr@20"], world.rows, world.stream)
        for place, period in enumerate(periods):
            rows.append(
                {
                    "log": runs.settings.sessions[job.arm.log].log,
                    "arm": job.arm.name,
                    "label": LABELS[job.arm.strategy],
                    "period": int(period),
                    "Recall@20": float(recall[place]),
                    "MRR@20": float(reciprocal[place]),
                    "steps": passage.effort.steps,
                    "samples": passage.effort.samples,
                    "CPU s": passage.effort.seconds,
                }
            )
    schema = {"log": pl.String, "arm": pl.String, "label": pl.String, "period": pl.Int64,
              "Recall@20": pl.Float64, "MRR@20": pl.Float64, "steps": pl.Int64,
              "samples": pl.Int64, "CPU s": pl.Float64}  # fmt: skip
    frame = pl.DataFrame(rows, schema=schema)
    result.frames["sessions"] = frame
    for (name, arm), part in frame.group_by("log", "arm", maintain_order=True):
        result.log(f"{name}_{arm}_recall20", part["Recall@20"].mean())  # type: ignore[arg-type]
    return result


def _compare(
    study: Study, runs: StreamRuns, world: World, jobs: Iterable[Job], kept: NDArray[np.bool_]
) -> RankedArms:
    """Return the ranks of runs on some of the rows."""
    compared = RankedArms(world.rows.user[kept], study.profile.bootstrap)
    for job in jobs:
        compared.add(job.arm.name, job.seed, runs.passage(*job).ranks[kept])
    return compared


def _table(
    runs: StreamRuns, compared: RankedArms, jobs: Iterable[Job], reference: str
) -> pl.DataFrame:
    """Return a row an arm: means over seeds, differences from a reference, cost of the updates."""
    rows = []
    for arm in dict.fromkeys(job.arm for job in jobs):
        seeds = compared.seeds(arm.name)
        efforts = [runs.passage(arm, seed).effort for seed in seeds]
        gain = compared.difference(arm.name, reference, METRIC) if arm.name != reference else None
        rows.append(
            {
                "arm": arm.name,
                "label": label(arm),
                "seeds": len(seeds),
                **{
                    name.upper(): float(
                        np.mean([compared.metric(arm.name, name, s) for s in seeds])
                    )
                    for name in ("hr@10", "ndcg@10", "mrr@10")
                },
                "difference": None if gain is None else gain.mean,
                "low": None if gain is None else gain.low,
                "high": None if gain is None else gain.high,
                "steps": float(np.mean([effort.steps for effort in efforts])),
                "samples": float(np.mean([effort.samples for effort in efforts])),
                "CPU s": float(np.mean([effort.seconds for effort in efforts])),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def label(arm: Arm) -> str:
    """Return what an arm is called in figures."""
    text = LABELS[arm.strategy]
    if arm.model == "factorization":
        text = f"user rows, {text}"
    if arm.model == "expiring":
        text = f"{text}, rows expire"
    if arm.model in CONTENT_TABLES:
        text = f"{TABLES[arm.model].partition(',')[0]}, {text}"
    if arm.new_rows is not None:
        text = f"{text}, first rows: {_FIRST_ROWS[arm.new_rows]}"
    if arm.batch is not None:
        text = f"{text}, {arm.batch} windows a step"
    return text if arm.shards == 1 else f"{text} {arm.shards:g} times a period"


_FIRST_ROWS = {"random": "random", "mean_noise": "the mean", "content_knn": "like content"}


def _curves(world: World, runs: StreamRuns, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return HR@10 of each arm in each period, means over seeds, and what updates had cost."""
    rows = []
    for arm, seeds in _seeds(jobs).items():
        passages = [runs.passage(arm, seed) for seed in seeds]
        values = np.mean([hit(passage.ranks[world.drawn], 10) for passage in passages], axis=0)
        periods, means = per_period(values, world.rows.take(world.drawn), world.stream)
        spent = np.cumsum([[e.samples for e in passage.efforts] for passage in passages], axis=1)
        before = np.concatenate([[0.0], spent.mean(0)])  # at the start of each period
        for period, mean in zip(periods, means, strict=True):
            rows.append(
                {"arm": arm.name, "label": label(arm), "period": int(period),
                 "HR@10": float(mean), "samples before": float(before[period - world.first])}
            )  # fmt: skip
    return pl.DataFrame(rows)


def _ages(world: World, runs: StreamRuns, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return HR@10 by the age of the target, and the days to an item's first recommendation.

    Rows of launched items alone, so that each slice has the same items at different ages. Among
    launched items alone no older one stands in the way: what is left is how well they are told
    apart.
    """
    new = np.isin(world.targets, world.launched)
    ages = world.ages[new]
    first_week, young = next(iter(age_slices(ages).items()))
    rows = []
    for arm, seeds in _seeds(jobs).items():
        hits: list[Floats] = [hit(runs.passage(arm, seed).ranks[new], 10) for seed in seeds]
        mean = np.mean(hits, axis=0)
        among = np.mean([hit(runs.passage(arm, seed).among[new], 10) for seed in seeds], axis=0)
        days = [days_to_first_hit(found > 0, ages, world.targets[new], world.launched)
                for found in hits]  # fmt: skip
        slices = {
            name: float(mean[part].mean()) if part.any() else None
            for name, part in age_slices(ages).items()
        }
        all_days = np.concatenate(days)
        rows.append(
            {
                "arm": arm.name, "label": label(arm), "seeds": len(seeds), **slices,
                "among launched": float(among.mean()),
                f"among, {first_week}": float(among[young].mean()) if young.any() else None,
                **{f"found in {age} d": found_by(all_days, age) for age in FOUND_BY},
                "found": found_by(all_days, np.inf),
                "days to a quarter": days_until_found(all_days, 0.25),
                "days to half": days_until_found(all_days, 0.5),
            }
        )  # fmt: skip
    counts = {f"n {name}": int(part.sum()) for name, part in age_slices(ages).items()}
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        **{name: pl.lit(count) for name, count in counts.items()}
    )


def _found(world: World, runs: StreamRuns, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return the share of launched items that each arm had found by an age."""
    new = np.isin(world.targets, world.launched)
    ages, rows = world.ages[new], []
    for arm, seed in jobs:
        hits = hit(runs.passage(arm, seed).ranks[new], 10) > 0
        days = days_to_first_hit(hits, ages, world.targets[new], world.launched)
        for age in np.unique([0.0, *days[np.isfinite(days)], float(ages.max(initial=0))]):
            rows.append({"arm": arm.name, "label": label(arm), "age": float(age),
                         "found": float((days <= age).mean())})  # fmt: skip
    return pl.DataFrame(rows)


def _users(world: World, runs: StreamRuns, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return HR@10 of users that the base knows, of new ones, and of hardly known ones."""
    slices = {name: part[world.drawn] for name, part in world.user_slices().items()}
    rows = []
    for arm, seeds in _seeds(jobs).items():
        mean = np.mean([hit(runs.passage(arm, s).ranks[world.drawn], 10) for s in seeds], axis=0)
        values = {n: float(mean[part].mean()) if part.any() else None for n, part in slices.items()}
        counts = {f"n {name}": int(part.sum()) for name, part in slices.items()}
        rows.append({"arm": arm.name, "label": label(arm), "seeds": len(seeds), **values, **counts})
    return pl.DataFrame(rows, infer_schema_length=None)


def _seeds(jobs: Iterable[Job]) -> dict[Arm, list[int]]:
    found: dict[Arm, list[int]] = {}
    for job in jobs:
        found.setdefault(job.arm, []).append(job.seed)
    return found


def _means(columns: Mapping[str, Ranks]) -> dict[str, float]:
    return {name.upper(): float(values.mean()) for name, values in columns.items()}
