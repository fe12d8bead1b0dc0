"""The video workshop with tied events in two orders: which verdicts lean on ties?

MovieLens has times in seconds, and most events share theirs with another one of their user. The
literature on MovieLens-1M keeps such events in the order of the file. There the order is no
accident: two films of one second stand in the same order for nearly all users, which a model can
learn. So the chapter draws it. Here the chapter is run in the order of the file, and in another
drawn one than its own, for training, validation and test alike. All else is the chapter's: profile,
seeds, trainings, metrics, bars and controls. Verdicts of both stand beside each other, and what
each tried rate of updates finds.

    python -m benchmarks.trials.ties --profile night --out FILE

Trainings are kept in ``--work``: the same command goes on after a kill. What the chapter computes
from a simulator or from another log has no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from okml.benchmark import TieTrial, UpdateRate, parser_of
from okml.console import report_errors
from okml.ledger import Outcome, RunRecord, judge, load_claims
from okml.paths import build_dir
from okml.runtime import seed_everything
from okml.seqrec.interactions import Interactions
from okml.seqrec.metrics import hit
from okml.steps import StepResult, Steps
from okml.video_workshop.common.data import load_watched
from okml.video_workshop.common.describe import share_of_tied
from okml.video_workshop.config import PROFILES
from okml.video_workshop.experiment import Rooms
from okml.video_workshop.items.experiments.last_items import measure_last_items
from okml.video_workshop.items.experiments.new_items import measure_cold_items
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.stream.arms import StreamJob, shard_jobs
from okml.video_workshop.stream.experiments.freshness import measure_freshness, measure_shards
from okml.video_workshop.stream.experiments.news import measure_new_items, measure_shock
from okml.video_workshop.users.experiments.reuse import (
    measure_action_tokens,
    measure_propagation,
    measure_reuse,
)

Order = Literal["file", "drawn"]
DRAW = 1  # the seed of the drawn order; the chapter has another
LEAST = 10  # users for whom two items are tied neighbors, for their order to be compared
ROOMS: Mapping[str, tuple[Callable[[Any], StepResult], ...]] = {
    "stream": (measure_freshness, measure_new_items, measure_shock, measure_shards),
    "items": (measure_cold_items, measure_last_items),
    "users": (measure_reuse, measure_action_tokens, measure_propagation),
}


def one_way(events: Interactions) -> float | None:
    """Return the share of tied neighbors that stand in the order that most users have them in.

    Two items count if they are tied neighbors of ``LEAST`` users or more. By chance it is a little
    more than a half. None: no items count.
    """
    users = np.repeat(np.arange(events.user_count), np.diff(events.offsets))
    tied = (np.diff(users) == 0) & (np.diff(events.times) == 0)
    pairs = pl.DataFrame({"first": events.items[:-1][tied], "second": events.items[1:][tied]})
    counts = (
        pairs.with_columns(
            pl.min_horizontal("first", "second").alias("lower"),
            pl.max_horizontal("first", "second").alias("higher"),
        )
        .group_by("lower", "higher")
        .agg(pl.len().alias("all"), (pl.col("first") == pl.col("lower")).sum().alias("up"))
        .filter(pl.col("all") >= LEAST)
    )
    most = pl.max_horizontal("up", pl.col("all") - pl.col("up"))
    return counts.select(most.sum() / pl.col("all").sum()).item() if len(counts) else None


def in_order(profile: VideoWorkshopProfile, order: Order) -> VideoWorkshopProfile:
    """Return the profile with tied events of its log in an order."""
    changes = {"file": {"data.tie_rule": "file"}, "drawn": {"data.tie_seed": DRAW}}
    return profile.override(changes[order])


def measured(
    profile: VideoWorkshopProfile, work: Path, rooms: Sequence[str] = tuple(ROOMS)
) -> RunRecord:
    """Measure rooms of the chapter.

    Args:
        profile: The settings, with the order of tied events.
        work: The folder of the trainings.
        rooms: Some of ``ROOMS``.
    """
    seed_everything(profile.seeds[0])
    studies = Rooms(profile, work)
    steps = Steps(profile, work, str(studies.device))
    for room in rooms:
        for measure in ROOMS[room]:
            steps.results[measure.__name__] = measure(getattr(studies, room))
            print(f"{measure.__name__} is done", flush=True)
    reuse = steps.results.get(measure_reuse.__name__, StepResult())
    return steps.record(reuse.frames)


def measured_rates(profile: VideoWorkshopProfile, work: Path, order: Order) -> list[UpdateRate]:
    """Measure each tried learning rate of updates on the served periods themselves.

    Where intervals of updates compare otherwise in another order of ties, this tells whether the
    order does it or the choice of the rates.

    Arguments are those of :func:`measured`, and the name of the profile's order.
    """
    study = Rooms(profile, work).stream
    rows = study.served().drawn
    jobs = shard_jobs(profile)
    arms = (jobs[0].arm, jobs[-1].arm)  # of the fewest updates, and of the most
    chosen = {arm: study.rate(arm) for arm in arms}
    return [
        UpdateRate(
            order=order,
            updates=arm.shards,
            factor=factor,
            chosen=factor == chosen[arm],
            hr10=tuple(
                float(hit(study.passage(StreamJob(arm, seed, rate=factor)).ranks[rows], 10).mean())
                for seed in profile.seeds
            ),
        )
        for arm in arms
        for factor in study.settings.weekly.choice.rates
    ]


def frozen_ndcg10(record: RunRecord) -> float | None:
    """Return NDCG@10 of the frozen recommender in the order that it is trained in, if measured."""
    table = record.tables.get("order")
    return None if table is None else table.columns["NDCG@10"][0]


def beside(
    profile: VideoWorkshopProfile,
    file: RunRecord,
    drawn: RunRecord,
    out: Path,
    rates: Sequence[UpdateRate] = (),
) -> TieTrial:
    """Judge both records and write what they measured, as far as both have measured it.

    Args:
        profile: The settings of both.
        file: The record in the file's order.
        drawn: The record in the drawn order.
        out: The file of the trial's record.
        rates: What :func:`measured_rates` has measured.
    """
    verdicts = {
        claim.id: (judge(claim, file).outcome, judge(claim, drawn).outcome)
        for claim in load_claims(profile.chapter)
    }
    orders = ("file", "drawn")
    in_file, in_drawn = (load_watched(in_order(profile, each).data).interactions for each in orders)
    return TieTrial.write(
        out,
        profile=profile.name,
        settings_sha256=profile.fingerprint(),
        file_commit=file.provenance.commit.sha,
        log=profile.data.log,
        tied=share_of_tied(in_file),
        draw=DRAW,
        one_way=(one_way(in_file), one_way(in_drawn)),
        frozen_ndcg10=(frozen_ndcg10(file), frozen_ndcg10(drawn)),
        in_file={name: file.metrics[name] for name in drawn.metrics},
        in_drawn=drawn.metrics,
        outcomes={
            claim: pair
            for claim, pair in verdicts.items()
            if pair[1] not in (Outcome.NOT_RUN, Outcome.UNTESTABLE)
        },
        rates=rates,
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="night")
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--work", type=Path, help="where trainings are kept; by default in _build")
    options = parser.parse_args()
    profile = PROFILES[options.profile]
    work = options.work or build_dir() / "trials" / profile.chapter / f"{profile.name}_ties"
    records, rates = [], []
    orders: tuple[Order, ...] = ("file", "drawn")
    for order in orders:
        ordered, folder = in_order(profile, order), work / order
        records.append(measured(ordered, folder, options.rooms))
        if "stream" in options.rooms:
            rates += measured_rates(ordered, folder, order)
    print(beside(profile, *records, options.out, rates))


if __name__ == "__main__":
    with report_errors():
        main()
