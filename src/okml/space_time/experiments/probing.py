"""E2, E7 and the scaling check: the linear probe beside others (Table 2, Figure 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from okml.space_time.judging import Arm, Judge, less, whole
from okml.space_time.metrics import Floats, mean_r2, mean_spearman
from okml.space_time.probes import MLPProbe
from okml.space_time.ridge import Preprocessing, pca_curve
from okml.space_time.study import Study, default_prompt
from okml.steps import StepResult

FEW = 20  # principal components that claim space_time.pca speaks of
DRAWS = 5  # of as many random directions, for each seed
WAYS: tuple[Preprocessing, ...] = ("rms", "raw")  # rows divided by their RMS, and as they are


def measure_probes(study: Study) -> StepResult:
    """Compare the linear probe with the MLP at 60 % depth on the place set and the time set."""
    profile, settings = study.profile, study.profile.probe
    found = []
    arms: dict[tuple[str, str], dict[int, Floats]] = defaultdict(dict)
    for name in (profile.place_set, profile.time_set):
        y = study.entities(name).y()
        with study.activations(name, default_prompt(name)) as store:
            states = store.layer(round(settings.depth * store.manifest.hidden[-1]) - 1)
        features = study.features(states)
        for seed in study.probe_seeds:
            rows = study.rows(name, seed)
            mlp = MLPProbe(
                hidden=settings.mlp_hidden,
                learning_rate=settings.mlp_learning_rate,
                weight_decays=settings.mlp_weight_decays,
                batch=settings.mlp_batch,
                epochs=settings.mlp_epochs,
                patience=settings.mlp_patience,
                how=settings.preprocess,
                seed=seed,
                device=study.device,
            )
            predictions = {
                "linear": study.probe(features, y, rows),
                "MLP": mlp.fit(states[rows.train], y[rows.train]).predict(states[rows.test]),
            }
            for probe, predicted in predictions.items():
                r2 = mean_r2(y[rows.test], predicted)
                found.append({"set": name, "probe": probe, "seed": seed, "r2": r2})
                arms[name, probe][seed] = whole(len(y), rows.test, predicted)
    result = StepResult(frames={"probes": pl.DataFrame(found)})
    judge = Judge(study.entities(profile.place_set))
    pair = (arms[profile.place_set, probe] for probe in ("MLP", "linear"))
    result.measure("mlp_gain", judge.estimate(less(judge.r2), *pair), "R²")
    return result


def measure_components(study: Study, chosen: Mapping[str, int]) -> StepResult:
    """Fit the probe on the first k principal components of the training rows, for several k.

    The control of the few first components are as many random directions, drawn several times for
    each seed; ``random20_spearman_ratio`` is the mean over these draws.
    """
    profile = study.profile
    found = []
    arms: dict[tuple[str, int], dict[int, Floats]] = defaultdict(dict)
    drawn: dict[int, dict[int, Floats]] = defaultdict(dict)  # by draw, of the place set
    for name in (profile.place_set, profile.time_set):
        y = study.entities(name).y()
        with study.activations(name, default_prompt(name)) as store:
            features = study.features(store.layer(chosen[name]))
        width = features.shape[1]
        counts = sorted({FEW, width, *(k for k in profile.probe.pca_dimensions if k < width)})
        for seed in study.probe_seeds:
            rows = study.rows(name, seed)
            fits = pca_curve(features[rows.train], y[rows.train], counts, study.lambdas)
            for count, fit in fits.items():
                predicted = fit.predict(features[rows.test]).cpu().numpy()
                true = y[rows.test]
                found.append(
                    {
                        "set": name,
                        "seed": seed,
                        "components": count,
                        "r2": mean_r2(true, predicted),
                        "rho": mean_spearman(true, predicted),
                    }
                )
                if count in (FEW, width):
                    arms[name, count][seed] = whole(len(y), rows.test, predicted)
            if name == profile.place_set:
                for draw, projected in enumerate(_projections(features, seed)):
                    predicted = study.probe(projected, y, rows)
                    drawn[draw][seed] = whole(len(y), rows.test, predicted)
    result = StepResult(frames={"components": pl.DataFrame(found)})
    name = profile.place_set
    few, full = (arms[name, count] for count in (FEW, max(c for s, c in arms if s == name)))
    _measure_ratio(Judge(study.entities(name)), result, few, full, list(drawn.values()))
    return result


def _projections(features: torch.Tensor, seed: int) -> Iterator[torch.Tensor]:
    """Yield the features [n, d] on ``FEW`` random orthonormal directions, several times."""
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        directions, _ = np.linalg.qr(rng.standard_normal((features.shape[1], FEW)))
        yield features @ torch.from_numpy(directions).to(features)


def _measure_ratio(
    judge: Judge, result: StepResult, few: Arm, full: Arm, drawn: Sequence[Arm]
) -> None:
    """Measure the rank correlation of few components, and of random ones, over that of all."""

    def rho(rows: NDArray[np.int64], p: Floats) -> float:
        return mean_spearman(judge.y[rows], p[rows])

    def random(rows: NDArray[np.int64], p: Floats, *draws: Floats) -> float:
        return float(np.mean([rho(rows, draw) for draw in draws])) / rho(rows, p)

    def more(rows: NDArray[np.int64], p: Floats, q: Floats, *draws: Floats) -> float:
        return rho(rows, q) / rho(rows, p) - random(rows, p, *draws)

    unit = "share of the full probe's ρ"
    ratio = judge.estimate(lambda rows, p, q: rho(rows, q) / rho(rows, p), full, few)
    result.measure("pca20_spearman_ratio", ratio, unit)
    result.measure("random20_spearman_ratio", judge.estimate(random, full, *drawn), unit)
    difference = judge.estimate(more, full, few, *drawn)
    result.compare("pca20_spearman_ratio", "random20_spearman_ratio", difference)


def measure_scaling(study: Study, chosen: Mapping[str, int]) -> StepResult:
    """Compare rows divided by their RMS with raw rows, layer by layer on the place set.

    ``massive_row_ratio`` is the largest norm of a row over the median norm of its layer, over all
    layers; ``rms_gain_at_massive`` is the difference in the layer where that ratio is largest.
    """
    name = study.profile.place_set
    y = study.entities(name).y()
    found = []
    ratios: dict[int, float] = {}
    arms: dict[tuple[int, str], dict[int, Floats]] = defaultdict(dict)
    with study.activations(name, default_prompt(name)) as store:
        for hidden in store.manifest.hidden:
            states, layer = store.layer(hidden - 1), hidden - 1
            norms = np.linalg.norm(states, axis=1)
            ratios[layer] = float(norms.max() / np.median(norms))
            for seed in study.probe_seeds:
                rows = study.rows(name, seed)
                for how in WAYS:
                    predicted = study.probe(study.features(states, how), y, rows)
                    r2 = mean_r2(y[rows.test], predicted)
                    found.append({"layer": layer, "seed": seed, "rows": how, "r2": r2})
                    arms[layer, how][seed] = whole(len(y), rows.test, predicted)
    frame = pl.DataFrame(found).pivot("rows", index=["layer", "seed"], values="r2")
    result = StepResult(frames={"scaling": frame})
    worst = max(ratios, key=ratios.__getitem__)
    unit = "largest norm over the median norm"
    result.log("massive_row_ratio", ratios[worst], unit=unit)
    judge = Judge(study.entities(name))
    for key, layer in (("rms_gain_at_massive", worst), ("rms_gain_at_best", chosen[name])):
        gain = judge.estimate(less(judge.r2), *(arms[layer, how] for how in WAYS))
        result.measure(key, gain, "R²")
    return result
