"""E10: does the model use what the probe reads? (Appendix B, and steering, which it lacks)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import DataError, ParameterError
from okml.ledger import estimate_difference, estimate_mean, estimate_statistic
from okml.space_time.ablation import Ablation, ablate, matched_neurons
from okml.space_time.arms import asked, steering_layer
from okml.space_time.batches import Ids, Offsets
from okml.space_time.interventions import (
    random_directions,
    steer,
    sweep_neuron,
    sweep_values,
    top_tokens,
)
from okml.space_time.models import LanguageModel
from okml.space_time.neurons import neuron_activations
from okml.space_time.prompts import default_prompt
from okml.space_time.ridge import fit_ridge
from okml.space_time.study import Study
from okml.steps import StepResult

QUESTION = ("Where is ", "? It is a place on the continent of")  # around the name
EAST, WEST = " Asia", " North"  # first tokens of the answers whose odds are read
PUSHED = "longitude"
SWEEP = tuple(float(step) for step in range(-6, 7, 2))
SHOWN_WORKS = 3  # prompts under which the next tokens are shown
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
    layer = steering_layer(study.profile, lm.n_layers)
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
    """Set space and time neurons to zero and compare the loss with that of other neurons.

    Args:
        study: The study of the run.
        neurons: Rows of the neuron search: ``set``, ``layer``, ``neuron``, ``weight``, ``rho``.

    ``ablation_loss`` is the mean rise of the loss on sentences that say where places are, over
    the best space neurons; its control is the 95th percentile over neurons of the same blocks that
    fire as strongly. ``ablation_loss_<neuron>`` is that of a neuron that the paper names, on
    sentences about entities of the set that it follows.
    """
    settings, model = study.profile.steering, study.profile.resident_model
    best = (
        neurons.filter(set=study.profile.place_set)
        .sort(pl.col("rho").abs(), descending=True, maintain_order=True)
        .unique(["layer", "neuron"], maintain_order=True, keep="first")
        .head(settings.ablated_neurons)
    )
    lm = study.language_model(model)
    result = StepResult(frames={"ablation": pl.DataFrame(), "worst_tokens": pl.DataFrame()})
    groups = [("ablation_loss", study.profile.place_set, best.select("layer", "neuron").rows())]
    groups += [
        (f"ablation_loss_L{named.layer}_{named.neuron}", named.set, [(named.layer, named.neuron)])
        for named in model.named_neurons
    ]
    for metric, name, zeroed in groups:
        ids, offsets = _flat(_sentences(study, lm, name, settings.contexts))
        frames, worst = [], []
        for layer, neuron in zeroed:
            ((_, activations),) = neuron_activations(lm, ids, offsets, [layer])
            others = matched_neurons(activations, neuron, settings.matched_neurons)
            done = ablate(lm, ids, offsets, layer, neuron, others, study.profile.batch_tokens)
            labels = {"layer": pl.lit(layer), "best": pl.lit(neuron)}
            frames.append(done.contexts.with_columns(**labels))
            worst.append(_readable(done, lm, ids, offsets, f"L{layer}.{neuron}"))
        _measure_rise(result, metric, pl.concat(frames))
        for frame, found in (("ablation", frames), ("worst_tokens", worst)):
            result.frames[frame] = pl.concat([result.frames[frame], *found], how="diagonal")
    return result


def _measure_rise(result: StepResult, metric: str, rises: pl.DataFrame) -> None:
    """Measure the rise of the loss over zeroed neurons, and over their controls."""
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
    result.measure(metric, measured, "nats a token")
    result.measure(f"{metric}_matched", matched, "nats a token")
    result.compare(metric, f"{metric}_matched", gap)


def _by_context(rises: pl.DataFrame) -> NDArray[np.float64]:
    """Return the rises of the loss as [contexts, neurons]."""
    wide = rises.pivot(["layer", "best", "neuron"], index="context", values="increase").drop(
        "context"
    )
    return wide.to_numpy()


def _sentences(study: Study, lm: LanguageModel, name: str, count: int) -> list[list[int]]:
    """Return token ids of sentences that say where a place of the test set lies, or when."""
    entity_set = study.entities(name)
    column = entity_set.region if entity_set.kind == "space" else entity_set.targets[0]
    if column is None:
        raise DataError(f"{entity_set.name} has no column that says where its places lie.")
    known = entity_set.frame.filter(pl.col("is_test") & pl.col(column).is_not_null())
    rows = known.sample(min(count, known.height), seed=0).iter_rows(named=True)
    texts = (
        f"{row['entity']} is a place in the country of {row[column].replace('_', ' ')}."
        if entity_set.kind == "space"
        else f"{_dated(row)}{int(row[column])}."
        for row in rows
    )
    return [
        [lm.document_start, *lm.tokenizer(text, add_special_tokens=False)["input_ids"]]
        for text in texts
    ]


def _dated(row: Mapping[str, Any]) -> str:
    """Return the start of a sentence about a work or a person, up to the year."""
    if {"title", "creator"} <= row.keys():
        return f"{row['title']} by {row['creator']} was written in "
    return f"{row['entity']} {'died' if 'death_year' in row else 'appeared'} in "


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
    """Pin time neurons to a range of values and follow the predicted year.

    Works of the time set fill the paper's prompt "… by … was written in 19"; a set without
    creators uses its names alone. Swept are the best time neuron of the search and those that the
    paper names. ``sweep_shift`` is by how much the expected next digit differs between the ends of
    the sweep of the best one, and ``sweep_shift_<neuron>`` that of a named one; the control is the
    95th percentile over neurons of the same block that fire as strongly, pinned to the same
    multiples of their own activation. The paper's control are the first nine neurons of the block.

    The frame ``sweep`` follows the most probable next tokens under the first prompts, and
    ``shifts`` has the neurons beside their controls.

    Args:
        study: The study of the run.
        neurons: Rows of the neuron search.
    """
    name, settings = study.profile.time_set, study.profile.steering
    model = study.profile.resident_model
    strongest = neurons.filter(set=name).sort(
        pl.col("rho").abs(), descending=True, maintain_order=True
    )
    best = strongest.row(0, named=True)
    swept = {"sweep_shift": (best["layer"], best["neuron"])}
    for named in model.named_neurons:
        if study.entities(named.set).kind == "time":
            metric = f"sweep_shift_L{named.layer}_{named.neuron}"
            swept[metric] = (named.layer, named.neuron)
    tested = study.entities(name).frame.filter("is_test")
    works = tested.sample(min(settings.swept_works, tested.height), seed=0)
    lm = study.language_model(model)
    tokens = study.tokens(lm, name, default_prompt(name))
    offsets = tokens.offsets[: FIRING_ROWS + 1]
    ids = tokens.ids[: offsets[-1]]
    prompts = [_undated(row) for row in works.iter_rows(named=True)]
    digits = _digits(lm)
    result, frames, compared = StepResult(), [], []
    for metric, (layer, neuron) in swept.items():
        ((_, activations),) = neuron_activations(lm, ids, offsets, [layer])
        others = matched_neurons(activations, neuron, settings.swept_controls)
        values = sweep_values(activations, neuron, SWEEP)
        # Of the controls the two ends of the sweep are enough.
        ends = [sweep_values(activations, other, (SWEEP[0], SWEEP[-1])) for other in others]
        pinned = [*[neuron] * len(values), *np.repeat(others, 2).tolist()]
        pins = [*values, *(value for pair in ends for value in pair)]
        shifts = np.empty((len(prompts), 1 + len(others)))
        for row, text in enumerate(prompts):
            prompt = [lm.document_start, *lm.tokenizer(text, add_special_tokens=False)["input_ids"]]
            found = sweep_neuron(lm, prompt, layer, pinned, pins)  # [1 + V, vocabulary]
            own, controls = found[: 1 + len(values)], found[1 + len(values) :]
            digit = _expected_digit(torch.cat([own[[1, -1]], controls]), digits)
            shifts[row] = np.abs(digit[1::2] - digit[::2])
            if row < SHOWN_WORKS:
                labels = {"prompt": pl.lit(text), "neuron": pl.lit(f"L{layer}.{neuron}")}
                frames.append(top_tokens(lm, own, values).with_columns(**labels))
        _measure_shift(result, metric, shifts)
        controls = np.quantile(shifts[:, 1:].mean(axis=0), 0.95)
        compared.append((f"L{layer}.{neuron}", shifts[:, 0].mean(), controls))
    result.frames["sweep"] = pl.concat(frames)
    schema = ["neuron", "shift", "controls, 95th percentile"]
    result.frames["shifts"] = pl.DataFrame(compared, schema=schema, orient="row")
    return result


def _measure_shift(result: StepResult, metric: str, shifts: NDArray[np.float64]) -> None:
    """Measure the shifts [prompts, 1 + controls] of a neuron and of its controls."""

    def own(kept: NDArray[np.int64], _: int) -> float:
        return float(shifts[kept, 0].mean())

    def control(kept: NDArray[np.int64], _: int) -> float:
        return float(np.quantile(shifts[kept, 1:].mean(axis=0), 0.95))

    measured, matched, gap = (
        estimate_statistic(statistic, len(shifts), "prompts")
        for statistic in (own, control, lambda kept, _: own(kept, 0) - control(kept, 0))
    )
    result.measure(metric, measured, "digits")
    result.measure(f"{metric}_matched", matched, "digits")
    result.compare(metric, f"{metric}_matched", gap)


def _expected_digit(probabilities: Tensor, digits: tuple[list[int], Tensor]) -> NDArray[np.float64]:
    """Return the mean of the next digit, if the next token is one, [V], from [V, vocabulary]."""
    ids, first = digits
    of_digits = probabilities[:, ids].double()
    return np.asarray((of_digits @ first) / of_digits.sum(1))


def _undated(row: Mapping[str, Any]) -> str:
    """Return a prompt that leaves the decade, or the century of a death, to the model."""
    return f"{_dated(row)}{1 if 'death_year' in row else 19}"


def _digits(lm: LanguageModel) -> tuple[list[int], Tensor]:
    """Return the ids of the tokens that are digits alone, and the first digit of each, [D].

    Some tokenizers have a token for each digit, others for pairs, too.
    """
    found = {
        index: int(token[0])
        for token, index in lm.tokenizer.get_vocab().items()
        if re.fullmatch("[0-9]+", token)
    }
    if set(found.values()) != set(range(10)):
        raise ParameterError(f"The tokenizer of {lm.name} has no token for some digit.")
    return list(found), torch.tensor([*found.values()], dtype=torch.float64)
