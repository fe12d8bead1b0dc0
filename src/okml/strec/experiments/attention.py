"""Concentration and rank of attention matrices (Figures 1 and 2)."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from okml.ledger import estimate_difference, estimate_mean
from okml.seqrec.backbone import Backbone
from okml.seqrec.encoder import Encoder
from okml.steps import StepResult
from okml.strec.arms import BACKBONE, Job, warm_start
from okml.strec.attention import attention_maps, history_statistics, singular_values
from okml.strec.study import Study

# The statistic and the network of each metric.
METRICS = {
    "top5_column_mass": ("top5_mass", "bidirectional"),
    "top5_column_mass_untrained": ("top5_mass", "untrained"),
    "row_cosine": ("row_cosine", "bidirectional"),
    "row_cosine_shuffled": ("shuffled_cosine", "bidirectional"),
    "row_cosine_untrained": ("row_cosine", "untrained"),
    "row_cosine_causal": ("row_cosine", "causal"),
    "top5_column_mass_from_scratch": ("top5_mass", "from scratch"),
    "row_cosine_from_scratch": ("row_cosine", "from scratch"),
    "first_singular_energy": ("first_energy", "bidirectional"),
    "untrained_first_singular_energy": ("first_energy", "untrained"),
    "xavier_first_singular_energy": ("first_energy", "untrained, Xavier"),
    "row_cosine_xavier": ("row_cosine", "untrained, Xavier"),
}
CONTROLS = {
    "top5_column_mass": "top5_column_mass_untrained",
    "row_cosine": "row_cosine_shuffled",
}
BINS = np.linspace(0, 1.5, 46)  # edges of the histogram of singular values


def measure_attention(study: Study) -> StepResult:
    """Measure the attention weights of backbones: untrained, causal, fine-tuned, from scratch.

    The untrained one has the authors' small weights, and once more those of Glorot & Bengio (2010),
    with which logits are larger.
    """
    result = StepResult()
    statistics, maps, spectra, histogram = [], [], [], []
    # By metric and seed: means over heads and layers of each history, [b].
    by_history: dict[str, dict[int, NDArray[np.float64]]] = {name: {} for name in METRICS}
    for seed in study.profile.seeds:
        items = _histories(study, seed)
        for network, model in _networks(study, seed).items():
            layers = []
            for layer, weights in enumerate(attention_maps(model.eval(), items), 1):
                sigma = singular_values(weights)  # [b, h, n]
                found = history_statistics(weights, sigma)
                layers.append(found)
                means = {name: float(value.mean()) for name, value in found.items()}
                statistics.append({"network": network, "layer": layer, "seed": seed, **means})
                if seed == study.profile.seeds[0]:
                    maps.append(_mean_map(network, layer, weights))
                    flat = sigma.flatten(0, 1).numpy()  # [m, n]
                    spectra.append(_spectrum(network, layer, flat))
                    histogram.append(_histogram(network, layer, flat))
            for metric, (statistic, of) in METRICS.items():
                if of == network:
                    each = torch.stack([layer[statistic] for layer in layers])  # [layers, b]
                    by_history[metric][seed] = each.mean(0).numpy()
    for metric, values in by_history.items():
        if values:
            result.measure(metric, estimate_mean(values, "histories"))
    for metric, control in CONTROLS.items():
        difference = estimate_difference(by_history[metric], by_history[control], "histories")
        result.compare(metric, control, difference)
    result.frames["statistics"] = pl.DataFrame(statistics)
    result.frames["maps"] = pl.concat(maps)
    result.frames["spectra"] = pl.concat(spectra)
    result.frames["histogram"] = pl.concat(histogram)
    return result


def _histories(study: Study, seed: int) -> torch.Tensor:
    """Return the full history of the newest test row of each user, ``[b, n]``."""
    data = study.data(study.profile.main, seed)
    _, newest = np.unique(data.test.user[::-1], return_index=True)
    rows = data.test.take(np.sort(len(data.test) - 1 - newest)[: study.profile.attention_histories])
    source = study.rows_source(data, rows, data.settings.length)
    return source.batch(np.arange(len(rows)), np.random.default_rng(0)).items


def _networks(study: Study, seed: int) -> dict[str, Backbone]:
    """Return networks of the same shapes; the last one only if a recipe trains from scratch."""
    job = Job(study.profile.main, BACKBONE, seed, study.profile.recipe)
    start = warm_start(study.profile, job)
    assert start is not None  # the settings require it
    networks = {
        "untrained": study.untrained(job),
        "untrained, Xavier": _with_xavier_weights(study.untrained(job)),
        "causal": study.train(start).encoder,
        "bidirectional": study.train(job).encoder,
    }
    for recipe in study.profile.recipes:
        if recipe.from_scratch:
            networks["from scratch"] = study.train(replace(job, recipe=recipe)).encoder
    return {name: cast(Backbone, network) for name, network in networks.items()}


def _with_xavier_weights(encoder: Encoder) -> Encoder:
    """Draw the matrices of an encoder's layers anew; embeddings stay."""
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    return encoder


def _mean_map(network: str, layer: int, weights: torch.Tensor) -> pl.DataFrame:
    """Return the mean weights over histories and heads, a row for each query.

    A record keeps all rows of all layers, which it could not with a row for each weight.
    """
    mean = weights.mean((0, 1)).cpu().numpy()  # [n, n]
    keys = {f"key {place}": of_key for place, of_key in enumerate(mean.T, 1)}
    query = np.arange(1, len(mean) + 1)
    return pl.DataFrame({"network": network, "layer": layer, "query": query, **keys})


def _spectrum(network: str, layer: int, sigma: NDArray[np.float64]) -> pl.DataFrame:
    """Return the mean cumulative share of singular values, ``[m, n]``, by rank."""
    share = (np.cumsum(sigma, axis=1) / sigma.sum(1, keepdims=True)).mean(0)
    ranks = np.arange(1, sigma.shape[1] + 1)
    return pl.DataFrame({"network": network, "layer": layer, "rank": ranks, "cumulative": share})


def _histogram(network: str, layer: int, sigma: NDArray[np.float64]) -> pl.DataFrame:
    """Return the numbers of singular values, ``[m, n]``, in the bins of the histogram."""
    count, _ = np.histogram(sigma, BINS)
    return pl.DataFrame(
        {"network": network, "layer": layer, "low": BINS[:-1], "high": BINS[1:], "count": count}
    )
