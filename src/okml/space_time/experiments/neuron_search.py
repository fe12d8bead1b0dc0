"""Single neurons that follow a coordinate (Figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.space_time import probes
from okml.space_time.arms import table_pass
from okml.space_time.batches import end_to_end
from okml.space_time.judging import Arm, Fixed, HeldOut, whole
from okml.space_time.metrics import Floats, mean_spearman
from okml.space_time.models import LanguageModel
from okml.space_time.neurons import (
    activations_of_blocks,
    project,
    rank_correlations,
    read_after,
    search_projections,
    strongest,
    weight_cosines,
)
from okml.space_time.prompts import table_prompt
from okml.space_time.study import Study
from okml.steps import StepResult

KEPT = 50  # best neurons of a target that the step keeps, as the authors' code does
VIEWED = 500  # names on which the activations of neurons are read
VIEW_SEED = 0  # draws them
Seed = Sequence[int]


def measure_neurons(study: Study) -> StepResult:
    """Rank neurons for every set of the tables, beside as many random directions.

    The search reads training names. What it finds best is scored on test names, for ``neuron_rho``
    (the place set) or ``<set>_neuron_rho``, such as ``time_neuron_rho``: ρ with the target that it
    was found for, in the sign that the search found. The control ``…_random`` is the same
    among as many random directions, the mean over several draws of them.

    The frame ``neurons`` is what the first seed finds, with ``activation``, ρ of what the neuron
    does on training names; ``random_directions`` is the best direction of each of its draws for
    each target; and ``views`` looks at the best neurons for each target, and at those that the
    paper names, in three ways.
    """
    profile = study.profile
    first, draws = profile.seeds[0], profile.neurons.random_draws
    frames: dict[str, list[pl.DataFrame]] = {"neurons": [], "random_directions": [], "views": []}
    result = StepResult()
    for name in profile.table_sets:
        metric = "neuron_rho" if name == profile.place_set else f"{profile.stem(name)}_neuron_rho"
        of_set = pl.lit(name)
        reads_all = study.fixed and profile.neurons.entities >= len(study.rows(name, first).train)
        neurons: dict[int, Floats] = {}
        for seed in (first,) if reads_all else profile.seeds:
            searched, neurons[seed] = _search(study, name, seed)
            if seed == first:
                kept = _with_activations(study, name, strongest(searched, KEPT))
                frames["neurons"].append(kept.with_columns(set=of_set))
                frames["views"].append(_views(study, name, searched).with_columns(set=of_set))
        random: list[dict[int, Floats]] = [{} for _ in range(draws)]
        for draw, arm in enumerate(random):
            for seed in profile.seeds:
                drawn, arm[seed] = _search(study, name, seed, (seed, draw))
                if seed == first:
                    best = strongest(drawn).with_columns(draw=pl.lit(draw), set=of_set)
                    frames["random_directions"].append(best)
        own = Fixed(neurons) if reads_all else neurons
        _measure(HeldOut(study.entities(name)), result, metric, own, random)
    result.frames |= {frame: pl.concat(parts) for frame, parts in frames.items()}
    for row in result.frames["views"].filter("named").iter_rows(named=True):
        metric = f"neuron_rho_L{row['layer']}_{row['neuron']}"
        result.log(metric, abs(row["projection"]), unit="ρ on training names")
        result.log(f"{metric}_rank", row["rank"], unit="of all weights of neurons")
    return result


def _search(
    study: Study, name: str, seed: int, random_seed: Seed | None = None
) -> tuple[pl.DataFrame, Floats]:
    """Search the training names of a seed among neurons, or among random directions.

    Returns:
        The search, and for all entities [n, 2]: the projection on the best direction, with its
        sign, and the target that it was found for; NaN: not tested.
    """
    model, entity_set = study.profile.resident_model, study.entities(name)
    y, rows = entity_set.y(), study.rows(name, seed)
    count = min(study.profile.neurons.entities, len(rows.train))
    chosen = np.sort(np.random.default_rng(seed).choice(rows.train, count, replace=False))
    targets = {target: y[chosen, at] for at, target in enumerate(entity_set.targets)}
    lm, reading = study.language_model(model), study.read(table_pass(model, name))
    searched = search_projections(lm, reading, targets, rows=chosen, random_seed=random_seed)
    best = max(strongest(searched).iter_rows(named=True), key=lambda row: abs(row["rho"]))
    projected = np.sign(best["rho"]) * project(lm, reading, best, rows.test, random_seed)
    target = y[rows.test, entity_set.targets.index(best["target"])]
    return searched, whole(len(y), rows.test, np.column_stack([projected, target]))


def _rho(rows: NDArray[np.int64], arm: Floats) -> float:
    """Return the rank correlation of a projection with its target."""
    return mean_spearman(arm[rows, 1:], arm[rows, :1])


def _measure(
    held_out: HeldOut, result: StepResult, metric: str, neurons: Arm, random: Sequence[Arm]
) -> None:
    """Measure the best neuron beside the best of the random directions, a mean over draws."""

    def mean(rows: NDArray[np.int64], *draws: Floats) -> float:
        return float(np.mean([_rho(rows, draw) for draw in draws]))

    def more(rows: NDArray[np.int64], own: Floats, *draws: Floats) -> float:
        return _rho(rows, own) - mean(rows, *draws)

    result.measure(metric, held_out.estimate(_rho, neurons), "ρ")
    result.measure(f"{metric}_random", held_out.estimate(mean, *random), "ρ")
    result.compare(metric, f"{metric}_random", held_out.estimate(more, neurons, *random))


def some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows on which activations are read: at most ``VIEWED``, drawn at random."""
    count = min(VIEWED, len(rows))
    return np.sort(np.random.default_rng(VIEW_SEED).choice(rows, count, replace=False))


def activations(
    study: Study, lm: LanguageModel, name: str, rows: NDArray[np.int64], blocks: Sequence[int]
) -> dict[int, Tensor]:
    """Return what neurons of some blocks do at the last token of names of a set, [n, m] each."""
    tokens = study.tokens(lm, name, table_prompt(name))
    ids, offsets = end_to_end([tokens[at] for at in rows])
    budget = study.profile.batch_tokens
    return activations_of_blocks(lm, ids, offsets, blocks, token_budget=budget)


def _with_activations(study: Study, name: str, found: pl.DataFrame) -> pl.DataFrame:
    """Add ``activation``: ρ of what each neuron does on training names with its target."""
    lm, entity_set = study.language_model(study.profile.resident_model), study.entities(name)
    read = some(study.rows(name, study.profile.seeds[0]).train)
    active = activations(study, lm, name, read, found["layer"].unique().to_list())
    true = torch.from_numpy(entity_set.y()[read])
    parts = []
    for part in found.partition_by("layer", maintain_order=True):
        columns = [entity_set.targets.index(target) for target in part["target"]]
        rho = rank_correlations(active[part["layer"][0]][:, part["neuron"].to_list()], true)
        own = rho[torch.arange(len(columns)), columns].double().numpy()
        parts.append(part.with_columns(activation=pl.Series(own)))
    return pl.concat(parts).sort("target", pl.col("rho").abs(), descending=[False, True])


def _views(study: Study, name: str, searched: pl.DataFrame) -> pl.DataFrame:
    """Look at the best neuron of each target, and at named ones, in the three ways of the paper.

    The columns are ``named`` (whether the paper names it), ``layer``, ``neuron``, ``weight``,
    ``target``, ``projection`` (ρ of the search, on training names) and the ``rank`` of its size
    among all weights searched for the target, ``activation`` (ρ of what the neuron does on test
    names) and ``activation_rank`` among the neurons of its block, and ``cosine`` of the weights
    with the probe of the layer they meet.
    """
    wanted = [
        {"layer": named.layer, "neuron": named.neuron}
        for named in study.profile.resident_model.named_neurons
        if named.set == name
    ]
    size = pl.col("rho").abs().fill_nan(0)
    ranked = searched.with_columns(rank=size.rank("ordinal", descending=True).over("target")).sort(
        size, descending=True, maintain_order=True
    )
    of_paper = ranked.join(
        pl.DataFrame(wanted, schema={"layer": pl.Int32, "neuron": pl.Int32}),
        on=["layer", "neuron"], maintain_order="left",
    ).unique(["layer", "neuron"], maintain_order=True, keep="first")  # fmt: skip
    best = ranked.filter(rank=1).sort("target")
    shown = pl.concat([best.with_columns(named=pl.lit(value=False)),
                       of_paper.with_columns(named=pl.lit(value=True))])  # fmt: skip
    lm = study.language_model(study.profile.resident_model)
    seen = [_seen(study, lm, name, row) for row in shown.iter_rows(named=True)]
    labels = ["named", "layer", "neuron", "weight", "target", "rank"]
    return shown.select(*labels, projection="rho").with_columns(
        pl.DataFrame(seen, schema=["activation", "activation_rank", "cosine"], orient="row")
    )


def _seen(
    study: Study, lm: LanguageModel, name: str, row: Mapping[str, Any]
) -> tuple[float, int, float]:
    """Return ρ of a neuron's activation on test names, its rank in the block, and the cosine."""
    profile, block = study.profile, row["layer"]
    rows, entity_set = study.rows(name, profile.seeds[0]), study.entities(name)
    true = entity_set.y()[:, [entity_set.targets.index(row["target"])]]
    read = some(rows.test)
    active = activations(study, lm, name, read, [block])[block]
    found = rank_correlations(active, torch.from_numpy(true[read]))[:, 0]
    strength, own = found.abs().nan_to_num(0), float(found[row["neuron"]])
    reading = study.read(table_pass(profile.resident_model, name))
    states = reading.layer(read_after(block, row["weight"]))
    probe = probes.direction(study, name, states, rows, row["target"])
    cosines = weight_cosines(lm.mlp(block).neuron_weights()[row["weight"]], probe)
    rank = 1 + int((strength > strength[row["neuron"]]).sum())
    return own, rank, float(cosines[row["neuron"]])
