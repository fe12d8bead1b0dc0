"""LightSAGE and the baselines under one protocol."""

from __future__ import annotations

import polars as pl

from okml.lightsage.arms import NETWORK, WITH_IDS, baseline_jobs
from okml.lightsage.comparison import LIST, measure_gain
from okml.lightsage.ranking import rank_pairs
from okml.lightsage.settings import TaskSettings
from okml.lightsage.study import Study
from okml.steps import StepResult


def measure_baselines(study: Study) -> StepResult:
    """Rank the test pairs of the main data by every baseline."""
    comparison = study.compare(baseline_jobs(study.profile), NETWORK)
    return StepResult(frames={"summary": comparison.summary(), "seeds": comparison.per_seed()})


def measure_real(study: Study) -> StepResult:
    """Rank the test pairs of real logs, also by the network with learned item vectors."""
    profile, result = study.profile, StepResult()
    frames: dict[str, list[pl.DataFrame]] = {"summary": [], "seeds": []}
    for settings in profile.real:
        comparison = study.compare(baseline_jobs(profile, settings), NETWORK)
        label = study.data(settings, profile.seeds[0]).label
        if settings.name == "movielens":
            for arm, metric in ((NETWORK, "network"), (WITH_IDS, "network_with_item_vectors")):
                popular = f"popularity_hr10_gain_over_{metric}", "popularity"
                gain = f"swing_hr10_gain_over_{metric}"
                measure_gain(result, comparison, gain, ("swing", arm), popular)
        if settings is profile.real[-1] and settings.baselines:
            rival = best_rival(study, settings)
            measure_gain(result, comparison, "hr10_gain_over_best_rival", (NETWORK, rival))
            result.notes.append(f"the best rival on {label}, by validation: {rival}")
        for name, rows in (("summary", comparison.summary()), ("seeds", comparison.per_seed())):
            frames[name].append(rows.select(pl.lit(label).alias("data"), pl.all()))
    if profile.real:
        result.frames = {name: pl.concat(parts) for name, parts in frames.items()}
    return result


def best_rival(study: Study, settings: TaskSettings) -> str:
    """Return the baseline with the highest HR@10 on the validation pairs, for the first seed."""
    seed = study.profile.seeds[0]
    valid = study.data(settings, seed).valid
    found = {}
    for name, job in baseline_jobs(study.profile, settings):
        if job.seed == seed and name in settings.baselines:
            (ranks,) = rank_pairs(study.scorer(job), valid.item, valid.target)
            found[name] = float(ranks.hit(LIST).mean())
    return max(found, key=lambda name: found[name])
