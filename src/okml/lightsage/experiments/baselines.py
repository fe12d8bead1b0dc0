"""LightSAGE and the baselines under one protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from okml.kept import trainings_folder
from okml.lightsage.arms import Arm
from okml.lightsage.baselines.item2vec import item2vec
from okml.lightsage.baselines.item_cf import edge_scorer
from okml.lightsage.baselines.lightgcn import IdGraph, lightgcn
from okml.lightsage.baselines.popularity import (
    category_scorer,
    feature_scorer,
    popularity_scorer,
    random_scorer,
)
from okml.lightsage.comparison import LIST, Comparison, measure_gain
from okml.lightsage.graph import SwingSettings, cosine, swing, user_items
from okml.lightsage.network.settings import VARIANTS, EncoderSettings
from okml.lightsage.prepared import Prepared
from okml.lightsage.ranking import Scorer, rank_pairs, vector_scorer
from okml.lightsage.settings import BaselineName, DataSettings
from okml.lightsage.study import Study
from okml.lightsage.training.losses import LossSettings
from okml.paths import atomic_write
from okml.steps import StepResult, announced

NETWORK, WITH_IDS = "LightSAGE", "LightSAGE and item vectors"


def network_arm(study: Study, data: DataSettings, *, item_vectors: bool = False) -> Arm:
    """Return LightSAGE on the main graph of a data set, with or without learned item vectors."""
    profile = study.profile
    return Arm(
        name=WITH_IDS if item_vectors else NETWORK,
        graph=data.main_graph,
        encoder=EncoderSettings(item_vectors=item_vectors),
        loss=profile.loss,
        negatives=profile.negatives,
    )


def measure_baselines(study: Study) -> StepResult:
    """Rank the test pairs of the main data by every baseline."""
    profile, result = study.profile, StepResult()
    comparison = study.comparison(NETWORK)
    for seed in profile.seeds:
        data = study.data(profile.data, seed)
        _add_network(study, comparison, data, seed, item_vectors=False)
        for name in profile.data.baselines:
            _add_baseline(study, comparison, data, seed, name)
    result.frames = {"summary": comparison.summary(), "seeds": comparison.per_seed()}
    return result


def measure_real(study: Study) -> StepResult:
    """Rank the test pairs of real logs, also by the network with learned item vectors."""
    profile, result = study.profile, StepResult()
    summaries, seeds = [], []
    for settings in profile.real:
        comparison = study.comparison(NETWORK)
        scorers: dict[BaselineName, Scorer] = {}
        for seed in profile.seeds:
            data = study.data(settings, seed)
            _add_network(study, comparison, data, seed, item_vectors=False)
            _add_network(study, comparison, data, seed, item_vectors=True)
            made = {
                name: _add_baseline(study, comparison, data, seed, name)
                for name in settings.baselines
            }
            scorers = scorers or made  # those of the first seed
        if settings.name == "movielens":
            for arm, metric in ((NETWORK, "network"), (WITH_IDS, "network_with_item_vectors")):
                popular = f"popularity_hr10_gain_over_{metric}", "popularity"
                gain = f"swing_hr10_gain_over_{metric}"
                measure_gain(result, comparison, gain, ("swing", arm), popular)
        if settings is profile.real[-1] and settings.baselines:
            rival = best_rival(scorers, study.data(settings, profile.seeds[0]))
            measure_gain(result, comparison, "hr10_gain_over_best_rival", (NETWORK, rival))
            result.notes.append(f"the best rival on {data.label}, by validation: {rival}")
        summaries.append(_named(comparison.summary(), data))
        seeds.append(_named(comparison.per_seed(), data))
    if summaries:
        result.frames = {"summary": pl.concat(summaries), "seeds": pl.concat(seeds)}
    return result


def best_rival(scorers: Mapping[BaselineName, Scorer], data: Prepared) -> BaselineName:
    """Return the baseline with the highest HR@10 on the validation pairs."""

    def found(name: BaselineName) -> float:
        (ranking,) = rank_pairs(scorers[name], data.valid.item, data.valid.target)
        return float(ranking.hit(LIST).mean())

    return max(scorers, key=found)


def baseline_scorer(study: Study, data: Prepared, name: BaselineName, seed: int) -> Scorer:
    """Return the scorer of a baseline, trained if it has parameters.

    Args:
        study: Study of the run.
        data: Data set to train on.
        name: Name of the baseline.
        seed: Random seed of the baseline.
    """
    profile, log = study.profile, data.shop.train
    strong = data.settings.graph.swing
    trainings = trainings_folder(study, baseline_scorer, Study.data)
    folder = trainings / data.settings.key / name.replace(" ", "_") / f"seed_{seed}"
    match name:
        case "random":
            return random_scorer(data.items, seed)
        case "popularity":
            return popularity_scorer(data.clicks)
        case "popularity in category":
            return category_scorer(data.clicks, data.category)
        case "features":
            return feature_scorer(data.shop.features)
        case "cosine" | "swing":
            count = swing if name == "swing" else cosine
            return edge_scorer(count(user_items(log, strong), _uncut(strong)), data.items)
        case "item2vec":
            sentences = profile.item2vec.model_copy(update={"width": profile.width})
            # A session is a sentence, whose words are the graph's strong actions.
            sessions = log.frame.with_columns(user="session")
            pairs = user_items(replace(log, frame=sessions), strong)
            path = folder / "vectors.npy"
            if not path.exists():
                with atomic_write(path, "wb") as file:
                    np.save(file, item2vec(pairs, data.items, sentences, seed))
            return vector_scorer(np.load(path))
        case "lightgcn users" | "lightgcn items":
            if name == "lightgcn users":
                graph = IdGraph.of_users(user_items(log, strong), data.items)
            else:
                directed = study.graph(data, data.settings.main_graph, seed).directed
                graph = IdGraph.of_items(directed, data.items)
            settings = profile.lightgcn.model_copy(update={"width": profile.width})
            vectors = lightgcn(graph, settings, seed=seed, device=profile.device, folder=folder)
            return vector_scorer(vectors)
        case "graphsage":
            return vector_scorer(study.vectors(data, graphsage_arm(study, data.settings), seed))
        case "pinsage":
            trained = study.train_pinsage(data, seed)
            return vector_scorer(trained.encoder.embed(data.shop.features, trained.adjacency))


def graphsage_arm(study: Study, data: DataSettings) -> Arm:
    """Return GraphSAGE with its own loss: walk pairs, popularity negatives, logistic.

    Negatives have the weight of the pair. With the paper's Q = 20, the unit vectors spread until no
    two are close, and the ranking is random.
    """
    negatives = study.profile.negatives.model_copy(update={"count": 20, "draw": "popularity"})
    return Arm(
        name="graphsage",
        graph=data.main_graph,
        encoder=VARIANTS["V4"],
        loss=LossSettings(name="logistic", temperature=1.0, negative_weight=1.0),
        negatives=negatives,
        positives="walks",
    )


def _uncut(settings: SwingSettings) -> SwingSettings:
    """Return settings without caps, except for a larger cap on the users of an item."""
    most = max(1000, settings.most_item_users)
    return settings.unbounded().model_copy(update={"most_item_users": most})


def _add_network(
    study: Study, comparison: Comparison, data: Prepared, seed: int, *, item_vectors: bool
) -> None:
    arm = network_arm(study, data.settings, item_vectors=item_vectors)
    with announced(f"{data.label}, seed {seed}: {arm.name}"):
        comparison.add(arm.name, seed, data, vector_scorer(study.vectors(data, arm, seed)))


def _add_baseline(
    study: Study, comparison: Comparison, data: Prepared, seed: int, name: BaselineName
) -> Scorer:
    with announced(f"{data.label}, seed {seed}: {name}"):
        scorer = baseline_scorer(study, data, name, seed)
        comparison.add(name, seed, data, scorer)
    return scorer


def _named(frame: pl.DataFrame, data: Prepared) -> pl.DataFrame:
    return frame.select(pl.lit(data.label).alias("data"), pl.all())
