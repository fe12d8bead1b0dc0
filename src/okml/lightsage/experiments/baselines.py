"""LightSAGE and the baselines under one protocol."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from okml.lightsage.arms import NETWORK, WITH_IDS, Rows, baseline_jobs, on_graph
from okml.lightsage.comparison import PairedComparison, measure_gain, slices
from okml.lightsage.settings import TaskSettings
from okml.lightsage.study import Study
from okml.steps import StepResult

# Slices of the pairs, and what they add to the name of a metric.
PARTS = {
    "hr@10": "",
    "head": "_on_head",
    "tail": "_on_tail",
    "tail target": "_on_tail_targets",
    "cold": "_on_cold",
}


def measure_baselines(study: Study) -> StepResult:
    """Rank the test pairs of the main data by every baseline."""
    rows, result = baseline_jobs(study.profile), StepResult()
    comparison = study.compare(rows, NETWORK)
    measure_rival(study, result, comparison, rows, study.profile.data, "main_")
    for part, suffix in _parts(comparison):
        name = f"main_popularity_hr10_gain_over_network{suffix}"
        measure_gain(result, comparison, name, ("popularity", NETWORK), part=part)
    summary = comparison.summary().join(_budgets(study, rows), on="arm", maintain_order="left")
    result.frames = {"summary": summary, "seeds": comparison.per_seed()}
    return result


def measure_real(study: Study) -> StepResult:
    """Rank the test pairs of real logs, also by the network with learned item vectors."""
    profile, result = study.profile, StepResult()
    frames: dict[str, list[pl.DataFrame]] = {"summary": [], "seeds": []}
    for settings in profile.real:
        rows = baseline_jobs(profile, settings)
        comparison = study.compare(rows, NETWORK)
        label = study.data(settings, profile.seeds[0]).label
        if settings.name == "movielens":
            for arm, metric in ((NETWORK, "network"), (WITH_IDS, "network_with_item_vectors")):
                popular = f"popularity_hr10_gain_over_{metric}", "popularity"
                gain = f"swing_hr10_gain_over_{metric}"
                measure_gain(result, comparison, gain, ("swing", arm), popular)
        if settings is profile.real[-1]:
            measure_rival(study, result, comparison, rows, settings, "")
            alone, cosine = on_graph("strong"), on_graph("full, cosine for swing")
            control = "neither_hr10_gain_over_cosine_on_sessions", alone
            measure_gain(result, comparison, "swing_hr10_gain_on_sessions", (NETWORK, alone))
            name = "swing_hr10_gain_over_cosine_on_sessions"
            measure_gain(result, comparison, name, (NETWORK, cosine), control)
            if alone in comparison.arms:
                rising = study.not_flat(rows, (NETWORK, alone, cosine))
                result.log("rising_graphs_on_sessions", rising, exact=True)
        summary = comparison.summary().join(_budgets(study, rows), on="arm", maintain_order="left")
        for name, frame in (("summary", summary), ("seeds", comparison.per_seed())):
            frames[name].append(frame.select(pl.lit(label).alias("data"), pl.all()))
    if profile.real:
        result.frames = {name: pl.concat(parts) for name, parts in frames.items()}
    return result


def measure_rival(
    study: Study,
    result: StepResult,
    comparison: PairedComparison,
    rows: Rows,
    settings: TaskSettings,
    prefix: str,
) -> None:
    """Measure the gain of LightSAGE over its best rival, and whether one of them still rose.

    The rival is the baseline with the best validation for the first seed, so that the test does
    not choose it. The gain is measured with learned item vectors, too, if the data ask for them.
    """
    if not settings.baselines:
        return
    rival = study.best(rows, settings.baselines)
    for part, suffix in _parts(comparison):
        name = f"{prefix}hr10_gain_over_best_rival{suffix}"
        measure_gain(result, comparison, name, (NETWORK, rival), part=part)
    result.log(f"{prefix}rising_rivals", study.not_flat(rows, (NETWORK, rival)), exact=True)
    if settings.item_vectors:
        name = f"{prefix}hr10_gain_over_best_rival_with_item_vectors"
        measure_gain(result, comparison, name, (WITH_IDS, rival))
        rising = study.not_flat(rows, (WITH_IDS, rival))
        result.log(f"{prefix}rising_with_item_vectors", rising, exact=True)
    label = study.data(settings, study.profile.seeds[0]).label
    result.notes.append(f"the best rival on {label}, by validation: {rival}")


def _parts(comparison: PairedComparison) -> Iterator[tuple[str, str]]:
    """Yield the slices of ``PARTS`` that no seed has empty, with what they add to a name."""
    for part, suffix in PARTS.items():
        if all(slices(data)[part].any() for data in comparison.data.values()):
            yield part, suffix


def _budgets(study: Study, rows: Rows) -> pl.DataFrame:
    """Return the rate that validation chose and whether it still rose, a row for each arm.

    Nothing tells the latter of an arm that was not validated while it was trained.
    """
    found: list[dict[str, object]] = []
    for arm in dict.fromkeys(name for name, _ in rows):
        jobs = [job for name, job in rows if name == arm]
        trained = jobs[0].trains
        found.append(
            {
                "arm": arm,
                "rate": study.tuned(jobs[0]).rate if trained else None,
                "rising": study.rising(jobs) if trained else None,
            }
        )
    schema = {"arm": pl.String(), "rate": pl.Float64(), "rising": pl.Boolean()}
    return pl.DataFrame(found, schema)
