"""E10: does the model use what the probe reads? (Appendix B, and steering, which it lacks)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import DataError, ParameterError
from okml.ledger import estimate_difference, estimate_mean, estimate_statistic
from okml.space_time.ablation import Ablation, ablate, matched_neurons
from okml.space_time.arms import asked
from okml.space_time.batches import Ids, Offsets
from okml.space_time.interventions import (
    date_prompt,
    random_directions,
    steer,
    sweep_neuron,
    sweep_values,
)
from okml.space_time.models import LanguageModel
from okml.space_time.prompts import default_prompt
from okml.space_time.ridge import fit_ridge
from okml.space_time.study import Study
from okml.steps import StepResult

QUESTION = ("Where is ", "? It is a place on the continent of")  # around the name
EAST, WEST = " Asia", " North"  # first tokens of the answers whose odds are read
PUSHED = "longitude"
SWEEP = tuple(float(step) for step in range(-6, 7, 2))
SWEPT_WORKS = 3
FIRING_ROWS = 256  # names that tell how strongly a neuron fires
DIRECTION_SEED = 0


def measure_steering(study: Study) -> StepResult:
    """Push the residual stream along the longitude direction and read the continent's odds.

    ``steering_shift`` is half the difference between the mean effects of the strongest push
    east and the strongest push west, along the direction of each seed's probe; its control is the
    largest of the same over random directions.
    """
    settings, name = study.profile.steering, study.profile.place_set
    model = study.profile.resident_model
    lm = study.language_model(model)
    layer = round(settings.depth * (lm.n_layers - 1))
    (states,) = study.layers(asked(model, name), layer)  # [n, d]
    probed = {
        seed: _probe_direction(study, name, states, study.rows(name, seed).train)
        for seed in study.probe_seeds
    }
    # A seed's test rows are on the test side of the split, which no seed's probe has seen.
    test = study.rows(name, study.profile.seeds[0]).test
    shown = _spread(study, name, test, settings.entities)
    ids, offsets, positions = _questions(lm, shown)
    random = random_directions(lm.d_model, settings.random_directions, DIRECTION_SEED)
    directions = {f"{PUSHED} {seed}": push for seed, push in probed.items()} | random
    steered = steer(
        lm, ids, offsets, positions, layer, directions, settings.strengths,
        *_answers(lm), study.profile.batch_tokens,
    )  # fmt: skip
    result = StepResult(frames={"steering": _mean_effects(steered)})
    shifts = _shifts(steered, max(settings.strengths))
    own = {seed: shifts[f"{PUSHED} {seed}"] for seed in probed}
    strongest = max((shifts[direction] for direction in random), key=lambda row: abs(row.mean()))
    control = strongest * np.sign(strongest.mean())
    unit = "nats of log-odds"
    result.measure("steering_shift", estimate_mean(own, "names"), unit)
    result.measure("steering_shift_random", estimate_mean(control, "names"), unit)
    difference = estimate_difference(own, control, "names")
    result.compare("steering_shift", "steering_shift_random", difference)
    return result


def _probe_direction(
    study: Study, name: str, states: NDArray[np.float32], train: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the direction of the residual stream along which the probe's longitude grows, [d]."""
    entity_set = study.entities(name)
    fit = fit_ridge(study.features(states[train]), entity_set.y()[train], study.lambdas)
    column = entity_set.targets.index(PUSHED)
    return np.asarray(fit.coef[:, column].cpu(), dtype=np.float64)


def _spread(study: Study, name: str, test: NDArray[np.int64], count: int) -> list[str]:
    """Return ``count`` test names evenly spread over longitude, so that both ends are asked."""
    entity_set = study.entities(name)
    longitude = entity_set.y()[test, entity_set.targets.index(PUSHED)]
    order = test[np.argsort(longitude, kind="stable")]
    chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    text = entity_set.text()
    return [text[row] for row in chosen]


def _flat(sequences: Sequence[Sequence[int]]) -> tuple[Ids, Offsets]:
    ids = np.concatenate([np.asarray(sequence, np.int64) for sequence in sequences])
    lengths = [len(sequence) for sequence in sequences]
    return ids, np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


def _questions(
    lm: LanguageModel, names: Sequence[str]
) -> tuple[Ids, Offsets, NDArray[np.integer[Any]]]:
    """Return the tokens of the question about each name, and the place of the name's last token."""
    before, after = QUESTION
    tail = _continuation(lm, after)
    sequences, positions = [], []
    for name in names:
        head = lm.tokenizer(before + name, add_special_tokens=False)["input_ids"]
        sequences.append([lm.document_start, *head, *tail])
        positions.append(len(head))
    return *_flat(sequences), np.asarray(positions)


def _continuation(lm: LanguageModel, text: str) -> list[int]:
    """Return the ids of ``text`` after other text.

    A SentencePiece tokenizer such as that of Llama-2 puts a blank before whatever it is given, so
    that " Asia" alone begins with the same token as " North".
    """
    alone = lm.tokenizer("x", add_special_tokens=False)["input_ids"]
    together: list[int] = lm.tokenizer("x" + text, add_special_tokens=False)["input_ids"]
    if together[: len(alone)] != alone:
        raise ParameterError(f"The tokenizer of {lm.name} does not split text before {text!r}.")
    return together[len(alone) :]


def _answers(lm: LanguageModel) -> tuple[int, int]:
    """Return the ids of the first tokens of the eastern and the western answer."""
    east, west = (_continuation(lm, answer)[0] for answer in (EAST, WEST))
    if east == west:
        raise ParameterError(f"To the tokenizer of {lm.name} both answers begin alike.")
    return east, west


def _mean_effects(steered: pl.DataFrame) -> pl.DataFrame:
    """Return the mean shift of each direction and strength, in the form the figure takes."""
    means = steered.group_by("direction", "strength", maintain_order=True).agg(
        shift=pl.col("effect").mean()
    )
    name = pl.col("direction")
    return means.with_columns(
        name=name,
        index=name.str.extract(r"(\d+)$").cast(pl.Int64),
        direction=pl.when(name.str.starts_with(PUSHED))
        .then(pl.lit("probe"))
        .otherwise(pl.lit("random")),
    )


def _shifts(steered: pl.DataFrame, strength: float) -> dict[str, NDArray[np.float64]]:
    """Return (effect(+strength) − effect(−strength)) / 2 of each direction and prompt, [n] each."""
    found = {}
    for direction in steered["direction"].unique(maintain_order=True):
        east, west = (
            steered.filter(direction=direction, strength=push).sort("prompt")["effect"].to_numpy()
            for push in (strength, -strength)
        )
        found[direction] = (east - west) / 2
    return found


def measure_ablation(study: Study, neurons: pl.DataFrame) -> StepResult:
    """Set the best space neurons to zero and compare the loss with that of other neurons.

    Args:
        study: The study of the run.
        neurons: Rows of the neuron search: ``set``, ``layer``, ``neuron``, ``weight``, ``rho``.

    ``ablation_loss`` is the mean rise of the loss on sentences that say where places are, over
    the best space neurons; its control is the 95th percentile over neurons of the same blocks that
    fire as strongly.
    """
    settings = study.profile.steering
    best = (
        neurons.filter(set=study.profile.place_set)
        .sort(pl.col("rho").abs(), descending=True, maintain_order=True)
        .unique(["layer", "neuron"], maintain_order=True, keep="first")
        .head(settings.ablated_neurons)
    )
    lm = study.language_model(study.profile.resident_model)
    ids, offsets = _flat(_sentences(study, lm, settings.contexts))
    frames, worst = [], []
    for layer, neuron in best.select("layer", "neuron").iter_rows():
        others = matched_neurons(lm, ids, offsets, layer, neuron, settings.matched_neurons)
        done = ablate(lm, ids, offsets, layer, neuron, others, study.profile.batch_tokens)
        frames.append(done.contexts.with_columns(layer=pl.lit(layer), best=pl.lit(neuron)))
        worst.append(_readable(done, lm, ids, offsets, f"L{layer}.{neuron}"))
    rises = pl.concat(frames)
    result = StepResult(frames={"ablation": rises, "worst_tokens": pl.concat(worst)})
    target, control = (_by_context(rises.filter(kind=kind)) for kind in ("target", "control"))

    def of_targets(kept: NDArray[np.int64], _: int) -> float:
        return float(target[kept].mean())

    def of_controls(kept: NDArray[np.int64], _: int) -> float:
        return float(np.quantile(control[kept].mean(axis=0), 0.95))

    def difference(kept: NDArray[np.int64], _: int) -> float:
        return of_targets(kept, 0) - of_controls(kept, 0)

    measured, matched, gap = (
        estimate_statistic(statistic, len(target), "sentences")
        for statistic in (of_targets, of_controls, difference)
    )
    result.measure("ablation_loss", measured, "nats a token")
    result.measure("ablation_loss_matched", matched, "nats a token")
    result.compare("ablation_loss", "ablation_loss_matched", gap)
    return result


def _by_context(rises: pl.DataFrame) -> NDArray[np.float64]:
    """Return the rises of the loss as [contexts, neurons]."""
    wide = rises.pivot(["layer", "best", "neuron"], index="context", values="increase").drop(
        "context"
    )
    return wide.to_numpy()


def _sentences(study: Study, lm: LanguageModel, count: int) -> list[list[int]]:
    """Return token ids of sentences that say in which country a place of the test set lies."""
    entity_set = study.entities(study.profile.place_set)
    if entity_set.region is None:
        raise DataError(f"{entity_set.name} has no column that says where its places lie.")
    known = entity_set.frame.filter(pl.col("is_test") & pl.col(entity_set.region).is_not_null())
    chosen = known.sample(min(count, known.height), seed=0)
    return [
        [
            lm.document_start,
            *lm.tokenizer(
                f"{name} is a place in the country of {region.replace('_', ' ')}.",
                add_special_tokens=False,
            )["input_ids"],
        ]
        for name, region in chosen.select("entity", entity_set.region).iter_rows()
    ]


def _readable(
    done: Ablation, lm: LanguageModel, ids: Ids, offsets: Offsets, neuron: str
) -> pl.DataFrame:
    """Return the tokens whose loss rises most with what stands before them (Tables 5 to 8)."""
    rows = []
    for row in done.worst_tokens(5).iter_rows(named=True):
        start = int(offsets[row["context"]]) + 1  # without the document start
        end = int(offsets[row["context"]]) + row["position"]
        before = lm.tokenizer.decode(ids[start:end].tolist())
        token = lm.tokenizer.decode([row["token_id"]])
        rows.append((neuron, before, token, row["loss"], row["increase"]))
    return pl.DataFrame(
        rows, schema=["neuron", "context", "next_token", "loss", "increase"], orient="row"
    )


def measure_sweep(study: Study, neurons: pl.DataFrame) -> StepResult:
    """Pin the best time neuron to a range of values and follow the predicted decade.

    Works of the time set fill the paper's prompt "… by … was written in 19"; a set without
    creators uses its names alone.
    """
    name = study.profile.time_set
    strongest = neurons.filter(set=name).sort(
        pl.col("rho").abs(), descending=True, maintain_order=True
    )
    best = strongest.row(0, named=True)
    entity_set = study.entities(name)
    works = entity_set.frame.filter("is_test").sample(SWEPT_WORKS, seed=0)
    lm = study.language_model(study.profile.resident_model)
    tokens = study.tokens(lm, name, default_prompt(name))
    offsets = tokens.offsets[: FIRING_ROWS + 1]
    ids = tokens.ids[: offsets[-1]]
    values = sweep_values(lm, ids, offsets, best["layer"], best["neuron"], SWEEP)
    frames = []
    for row in works.iter_rows(named=True):
        text = (
            date_prompt(row["title"], row["creator"])
            if {"title", "creator"} <= row.keys()
            else f"{row['entity']} died in 1"
        )
        prompt = [lm.document_start, *lm.tokenizer(text, add_special_tokens=False)["input_ids"]]
        swept = sweep_neuron(lm, prompt, best["layer"], best["neuron"], values)
        frames.append(swept.with_columns(prompt=pl.lit(text)))
    frame = pl.concat(frames).with_columns(neuron=pl.lit(f"L{best['layer']}.{best['neuron']}"))
    return StepResult(frames={"sweep": frame})
