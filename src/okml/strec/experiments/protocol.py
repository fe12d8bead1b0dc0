"""The data under its protocol, and the operations of schedules by arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from okml.seqrec.metrics import mean_metrics
from okml.seqrec.popularity import item_counts, popularity_scorer
from okml.steps import StepResult
from okml.strec.schedule import encoder_costs, full_schedule, savings, scaled
from okml.strec.settings import StrecProfile
from okml.strec.study import Study

BREAKDOWN_LENGTHS = (8, 50, 200, 1000)  # lengths in the figure of operations by part


def describe_data(study: Study) -> StepResult:
    """Count users, items, events and rows, and evaluate the popularity baseline."""
    result = StepResult()
    found: list[dict[str, Any]] = []
    for settings in study.profile.datasets:
        data = study.data(settings)
        scorer = popularity_scorer(item_counts(data.interactions, data.split.train_end))
        popular = mean_metrics(study.rank(scorer, data, data.test, settings.length))
        found.append(
            {
                "data": data.name,
                "users": data.interactions.user_count,
                "items": data.items,
                "events": len(data.interactions),
                "same second": data.log.tied_share,
                "window": settings.length,
                "training rows": len(data.train),
                "validation rows": len(data.valid),
                "test rows": len(data.test),
                "of all test rows": len(data.test) / data.all_test,
                "popularity NDCG@10": popular["ndcg@10"],
                "source": data.log.source,
            }
        )
        result.data |= data.used()
        result.notes += [data.log.notice] if data.log.notice else []
    result.frames["data"] = pl.DataFrame(found)
    return result


def count_operations(study: Study, logs: pl.DataFrame) -> StepResult:
    """Count the operations of each schedule, and their parts at several lengths.

    Args:
        study: The study, of which only the settings are read.
        logs: The frame of :func:`describe_data`, with the number of items of each log.
    """
    profile, items = study.profile, dict(logs.select("data", "items").iter_rows())
    width, hidden = profile.network.width, profile.network.hidden
    layers = profile.network.layers
    schedules: list[dict[str, Any]] = []
    for data in profile.datasets:
        everything = encoder_costs((data.length,) * layers, data.length, width, hidden)
        named = {
            "backbone, every query": (data.length,) * layers,
            "backbone, last query": full_schedule(data.length, layers),
            "STRec": data.schedule,
        }
        for name, schedule in named.items():
            costs = encoder_costs(schedule, data.length, width, hidden, items[data.log])
            left = savings(schedule, data.length)
            schedules.append(
                {
                    "data": data.log,
                    "encoder": name,
                    "schedule": "-".join(map(str, schedule)),
                    "sparsity": left.sparsity,
                    "tokens kept": left.tokens,
                    "pairs kept": left.pairs,
                    "MFLOP encoder": costs.encoder / 1e6,
                    "of every query": costs.encoder / everything.encoder,
                    "attention part": costs.attention / costs.encoder,
                    "MFLOP scoring": costs.scoring / 1e6,
                }
            )
    result = StepResult(
        frames={"schedules": pl.DataFrame(schedules), "breakdown": _breakdown(profile, items)}
    )
    main = profile.main
    before = encoder_costs((main.length,) * layers, main.length, width, hidden)
    after = encoder_costs(main.schedule, main.length, width, hidden)
    inside = (before.attention - after.attention) / (before.encoder - after.encoder)
    result.log("saved_outside_attention", 1 - inside, exact=True)
    return result


def _breakdown(profile: StrecProfile, items: Mapping[str, int]) -> pl.DataFrame:
    """Return the operations of the full backbone and of STRec by part, at several lengths."""
    main, network = profile.main, profile.network
    rows = []
    for length in BREAKDOWN_LENGTHS:
        for name, schedule in (
            ("backbone", (length,) * network.layers),
            ("STRec", scaled(main.schedule, main.length, length)),
        ):
            costs = encoder_costs(schedule, length, network.width, network.hidden, items[main.log])
            rows += [
                {"length": length, "encoder": name, "part": part, "MFLOP": value / 1e6}
                for part, value in vars(costs).items()
            ]
    return pl.DataFrame(rows)
