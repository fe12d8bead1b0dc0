"""The observation: how concentrated and how repetitive attention is (Figures 1 and 2)."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from okml.seqrec.backbone import Backbone
from okml.steps import StepResult
from okml.strec.arms import BACKBONE
from okml.strec.attention import attention_maps, attention_statistics, singular_values
from okml.strec.study import Study

NETWORKS = ("untrained", "causal", "bidirectional")
HISTOGRAM_VALUES = 4000  # singular values of a layer that the histogram keeps


def measure_attention(study: Study) -> StepResult:
    """Look at the attention weights of an untrained, a causal and a fine-tuned backbone."""
    result = StepResult()
    statistics, maps, spectra = [], [], []
    for seed in study.profile.seeds:
        items = _histories(study)
        for name, model in _networks(study, seed).items():
            weights = attention_maps(model.eval(), items)
            for layer, layer_weights in enumerate(weights, 1):
                found = vars(attention_statistics(layer_weights))
                key = {"network": name, "layer": layer, "seed": seed}
                statistics.append({**key, **found})
                if seed == study.profile.seeds[0]:
                    maps.append(_mean_map(name, layer, layer_weights))
                    spectra.append(_spectrum(name, layer, layer_weights))
            _log(result, name, seed, statistics[-len(weights) :])
    result.frames["statistics"] = pl.DataFrame(statistics)
    result.frames["maps"] = pl.concat(maps)
    result.frames["spectra"] = pl.concat(spectra)
    return result


def _histories(study: Study) -> torch.Tensor:
    """Return full histories of the test, ``[b, n]``: the newest row of each user first."""
    data = study.data(study.profile.main)
    _, newest = np.unique(data.test.user[::-1], return_index=True)
    rows = data.test.take(np.sort(len(data.test) - 1 - newest)[: study.profile.attention_histories])
    source = study.rows_source(data, rows, data.settings.length)
    return source.batch(np.arange(len(rows)), np.random.default_rng(0)).items


def _networks(study: Study, seed: int) -> dict[str, Backbone]:
    """Return the three networks, which have the same shapes."""
    profile, data = study.profile, study.data(study.profile.main)
    recipe = profile.recipe
    return {
        "untrained": study.untrained(data, recipe, BACKBONE, seed),
        "causal": study.warm_start(data, recipe, seed).encoder,
        "bidirectional": study.train(data, recipe, BACKBONE, seed).encoder,
    }


def _log(result: StepResult, network: str, seed: int, layers: list[dict[str, float]]) -> None:
    """Log the means over layers that the claims are about."""
    mean = pl.DataFrame(layers).mean().row(0, named=True)
    if network == "untrained":
        result.log("top5_column_mass_untrained", mean["top5_mass"], seed=seed)
        result.log("untrained_first_singular_energy", mean["first_energy"], seed=seed)
    elif network == "causal":
        result.log("row_cosine_causal", mean["row_cosine"], seed=seed)
    else:
        result.log("top5_column_mass", mean["top5_mass"], seed=seed)
        result.log("row_cosine", mean["row_cosine"], seed=seed)
        result.log("first_singular_energy", mean["first_energy"], seed=seed)


def _mean_map(network: str, layer: int, weights: torch.Tensor) -> pl.DataFrame:
    """Return the weights, averaged over histories and heads, in long form."""
    mean = weights.mean((0, 1)).cpu().numpy()
    query, key = np.indices(mean.shape)
    return pl.DataFrame(
        {
            "network": network,
            "layer": layer,
            "query": query.ravel() + 1,
            "key": key.ravel() + 1,
            "weight": mean.ravel().astype(np.float32),
        }
    )


def _spectrum(network: str, layer: int, weights: torch.Tensor) -> pl.DataFrame:
    """Return each singular value's rank, and the mean and a sample of values over histories."""
    sigma = singular_values(weights).cpu().numpy()  # [m, n]
    share = (np.cumsum(sigma, axis=1) / sigma.sum(1, keepdims=True)).mean(0)
    sample = np.sort(sigma.ravel())[:: max(1, sigma.size // HISTOGRAM_VALUES)]
    return pl.DataFrame(
        {
            "network": network,
            "layer": layer,
            "rank": np.arange(1, sigma.shape[1] + 1),
            "cumulative": share,
        }
    ).join(
        pl.DataFrame({"network": [network], "layer": [layer], "values": [sample.tolist()]}),
        on=["network", "layer"],
    )
