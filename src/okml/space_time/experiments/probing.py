"""The linear probe beside others (Table 2, Figure 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from okml.space_time import probes
from okml.space_time.arms import asked, table_layer, table_pass, table_passes
from okml.space_time.experiments.controls import token_tasks
from okml.space_time.judging import Arm, HeldOut, less
from okml.space_time.layers import Draw
from okml.space_time.metrics import Floats, mean_r2
from okml.space_time.mlp import fit_mlp
from okml.space_time.paper import printed
from okml.space_time.ridge import Preprocessing, RidgeSystem
from okml.space_time.study import Study
from okml.steps import StepResult

FEW = 20  # principal components that claim space_time.pca speaks of
DRAWS = 5  # times that each seed draws as many random directions
WAYS: tuple[Preprocessing, ...] = ("rms", "raw")  # rows divided by their RMS, and as they are


def measure_probes(study: Study) -> StepResult:
    """Compare the linear probe with the MLP at the layer of Table 2, for every model and set.

    ``mlp_gain`` is how much more the MLP reads of the place set, and ``mlp_token_task_gain`` how
    much more it learns by heart: a random place for each last token.

    The frame ``probes`` has ``model``, ``set``, ``probe``, ``seed``, ``r2`` and, where the paper
    prints it, ``paper``.
    """
    profile = study.profile
    result, found = StepResult(), []
    for one in table_passes(profile):
        model, name, held_out = one.model.name, one.set, HeldOut(study.entities(one.set))
        reading = study.read(one)
        states = reading.layer(table_layer(profile, one.model, reading.listing.blocks))
        features = probes.prepared(study, states)
        arms = {
            "linear": probes.linear_arm(study, name, features),
            "MLP": probes.arm(study, name, partial(_mlp, study, features, held_out.y), random=True),
        }
        for probe, arm in arms.items():
            paper = printed("Table 2", model, name, probe)
            r2s = held_out.by_seed(held_out.r2, arm)
            labels = {"model": model, "set": name, "probe": probe}
            found += [{**labels, "seed": s, "r2": r2, "paper": paper} for s, r2 in r2s.items()]
        if one == table_pass(profile.model, profile.place_set):
            gain = held_out.estimate(less(held_out.r2), arms["MLP"], arms["linear"])
            result.measure("mlp_gain", gain, "R²")
            _measure_memory(study, result, name, features)
    result.frames["probes"] = pl.DataFrame(found, schema_overrides={"paper": pl.Float64})
    return result


def _mlp(study: Study, features: torch.Tensor, y: Floats, rows: Draw, seed: int) -> Floats:
    """Fit the MLP on a seed's training rows and predict its test rows, [n_test, t]."""
    fitted = fit_mlp(features[rows.train], y[rows.train], study.profile.probe, seed)
    return fitted.predict(features[rows.test])


def _measure_memory(study: Study, result: StepResult, name: str, features: torch.Tensor) -> None:
    """Measure how much better the MLP learns a random place for each last token."""
    last, tasks = token_tasks(study, name)
    linear = probes.arm(
        study, name, lambda rows, seed: probes.predict(study, features, tasks[seed], rows),
        random=True,
    )  # fmt: skip
    mlp = probes.arm(
        study, name, lambda rows, seed: _mlp(study, features, tasks[seed], rows, seed), random=True
    )
    gain = HeldOut(study.entities(name), clusters=last, over="tokens").estimate(
        lambda rows, p, q, task: mean_r2(task[rows], p[rows]) - mean_r2(task[rows], q[rows]),
        mlp, linear, tasks,
    )  # fmt: skip
    result.measure("mlp_token_task_gain", gain, "R²")


def measure_components(study: Study, chosen: Mapping[str, int]) -> StepResult:
    """Fit the probe on the first k principal components of the training rows, for several k.

    The control of the few first components are as many random directions, drawn several times for
    each seed; ``random20_spearman_ratio`` is the mean over these draws.
    """
    profile = study.profile
    result, found = StepResult(), []
    for name in profile.table_sets:
        states = study.read(asked(profile.model, name)).layer(chosen[name])
        features, held_out = probes.prepared(study, states), HeldOut(study.entities(name))
        width = features.shape[1]
        counts = sorted({FEW, width, *(k for k in profile.probe.pca_dimensions if k < width)})
        arms = _by_components(study, name, features, counts)
        for count, arm in arms.items():
            r2s, rhos = (held_out.by_seed(of, arm) for of in (held_out.r2, held_out.rho))
            found += [
                {"set": name, "seed": s, "components": count, "r2": r2s[s], "rho": rhos[s]}
                for s in arm
            ]
        if name == profile.place_set:
            draws = _random_arms(study, name, features)
            _measure_ratio(held_out, result, arms[FEW], arms[width], draws)
    result.frames["components"] = pl.DataFrame(found)
    return result


def _by_components(
    study: Study, name: str, features: torch.Tensor, counts: Sequence[int]
) -> dict[int, Arm]:
    """Return what the probe predicts from the first components, by their number."""
    y = study.entities(name).y()
    systems = {
        seed: RidgeSystem.of(features[study.rows(name, seed).train], "eigh")
        for seed in study.probe_seeds
    }

    def predict(rows: Draw, seed: int, count: int) -> Floats:
        fit = systems[seed].principal(count).fit(y[rows.train], study.lambdas)
        return fit.predict(features[rows.test]).cpu().numpy()

    return {count: probes.arm(study, name, partial(predict, count=count)) for count in counts}


def _random_arms(study: Study, name: str, features: torch.Tensor) -> list[Arm]:
    """Return what the probe predicts from ``FEW`` random directions, for several draws."""
    y = study.entities(name).y()
    generators = {seed: np.random.default_rng(seed) for seed in study.profile.seeds}

    def predict(rows: Draw, seed: int) -> Floats:
        drawn = generators[seed].standard_normal((features.shape[1], FEW))
        directions = torch.from_numpy(np.linalg.qr(drawn)[0]).to(features)
        return probes.predict(study, features @ directions, y, rows)

    return [probes.arm(study, name, predict, random=True) for _ in range(DRAWS)]


def _measure_ratio(
    held_out: HeldOut, result: StepResult, few: Arm, full: Arm, drawn: Sequence[Arm]
) -> None:
    """Measure the rank correlation of few components, and of random ones, over that of all."""
    rho = held_out.rho

    def random(rows: NDArray[np.int64], p: Floats, *draws: Floats) -> float:
        return float(np.mean([rho(rows, draw) for draw in draws])) / rho(rows, p)

    def more(rows: NDArray[np.int64], p: Floats, q: Floats, *draws: Floats) -> float:
        return rho(rows, q) / rho(rows, p) - random(rows, p, *draws)

    unit = "share of the full probe's ρ"
    ratio = held_out.estimate(lambda rows, p, q: rho(rows, q) / rho(rows, p), full, few)
    result.measure("pca20_spearman_ratio", ratio, unit)
    result.measure("random20_spearman_ratio", held_out.estimate(random, full, *drawn), unit)
    difference = held_out.estimate(more, full, few, *drawn)
    result.compare("pca20_spearman_ratio", "random20_spearman_ratio", difference)


def measure_scaling(study: Study, curves: pl.DataFrame, chosen: Mapping[str, int]) -> StepResult:
    """Compare rows divided by their RMS with raw rows, layer by layer on the place set.

    ``massive_row_ratio`` is the largest norm of a row over the median norm of its layer, over all
    layers; ``rms_gain_at_massive`` is the difference in the layer where that ratio is largest.

    Args:
        study: The study of the run.
        curves: Scores by layer with rows as the profile prepares them.
        chosen: The layer that leave-one-out picked for each set.
    """
    name, stated = study.profile.place_set, study.profile.probe.preprocess
    held_out = HeldOut(study.entities(name))
    (other,) = {*WAYS} - {stated}
    ratios: dict[int, float] = {}
    found: list[pl.DataFrame] = []
    arms: dict[str, dict[int, Arm]] = {how: {} for how in WAYS}
    reading = study.read(asked(study.profile.model, name))
    for layer in reading.listing.layers:
        states = reading.layer(layer)
        norms = np.linalg.norm(states, axis=1)
        ratios[layer] = float(norms.max() / np.median(norms))
        features = probes.prepared(study, states, other)
        arms[other][layer] = probes.linear_arm(study, name, features)
        r2s = held_out.by_seed(held_out.r2, arms[other][layer])
        found.append(pl.DataFrame({"layer": layer, "seed": [*r2s], other: [*r2s.values()]}))
    worst = max(ratios, key=ratios.__getitem__)
    for layer in {worst, chosen[name]}:
        features = probes.prepared(study, reading.layer(layer))
        arms[stated][layer] = probes.linear_arm(study, name, features)
    own = curves.filter(set=name, model="trained").select(
        "layer", "seed", pl.col("r2").alias(stated)
    )
    both = pl.concat(found).join(own, on=["layer", "seed"], maintain_order="left")
    result = StepResult(frames={"scaling": both.select("layer", "seed", *WAYS)})
    result.log("massive_row_ratio", ratios[worst], unit="largest norm over the median norm")
    for key, layer in (("rms_gain_at_massive", worst), ("rms_gain_at_best", chosen[name])):
        gain = held_out.estimate(less(held_out.r2), *(arms[how][layer] for how in WAYS))
        result.measure(key, gain, "R²")
    return result
