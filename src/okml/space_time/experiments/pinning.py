"""E10: what a model says while one of its neurons is pinned (Appendix B)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import ParameterError
from okml.ledger import estimate_mean, estimate_statistic
from okml.space_time.ablation import losses_without, matched_neurons
from okml.space_time.batches import end_to_end
from okml.space_time.dictionary import Topic, entries
from okml.space_time.experiments.neuron_search import activations, some
from okml.space_time.interventions import sweep_neuron, sweep_values, top_tokens
from okml.space_time.judging import Fixed, HeldOut, whole
from okml.space_time.metrics import Floats, mean_spearman
from okml.space_time.models import LanguageModel
from okml.space_time.neurons import neuron_activations
from okml.space_time.study import Study
from okml.steps import StepResult

SWEEP = tuple(float(step) for step in range(-6, 7, 2))
SHOWN_WORKS = 3  # prompts under which the next tokens are shown
SHOWN_TOKENS = 5  # tokens of a neuron, those whose loss rises most


def measure_ablation(study: Study, neurons: pl.DataFrame) -> StepResult:
    """Set space and time neurons to zero and compare the loss with that of other neurons and text.

    ``ablation_rise`` is the mean rise of the loss on dictionary entries of places over the space
    neurons of the search whose activations follow their targets best. Its control
    ``ablation_rise_matched`` is the 95th percentile over neurons of the same blocks that fire as
    strongly on these entries. ``ablation_rise_gap`` is ``ablation_rise`` less
    ``ablation_rise_elsewhere``, the rise on entries of things that people made, and has a control
    of the same kind. ``ablation_rise_<neuron>`` is that of a neuron that the paper names, on
    entries of places or of people with their years. ``ablated_neuron_rho`` tells how well what the
    zeroed neurons do follows their targets on test names.

    The frame ``worst_tokens`` lists the tokens whose loss rises most, as Tables 5 to 8 do:
    ``neuron``, ``context``, ``next_token``, ``loss``, ``increase``, and ``matched``, the largest
    increase of the same token without one of the neurons that fire as strongly.

    Args:
        study: The study of the run.
        neurons: Rows of the neuron search: ``set``, ``layer``, ``neuron``, ``target``,
            ``activation``.
    """
    settings, place = study.profile.steering, study.profile.place_set
    best = _best(neurons, place).head(settings.ablated_neurons)
    groups = {"ablation_rise": (place, best.select("layer", "neuron").rows())}
    for named in study.profile.resident_model.named_neurons:
        metric = f"ablation_rise_L{named.layer}_{named.neuron}"
        groups[metric] = (named.set, [(named.layer, named.neuron)])
    lm, budget = _exact_model(study), study.profile.batch_tokens
    neutral = end_to_end(_entries(lm, "neither", settings.contexts))
    result, worst = StepResult(), []
    for metric, (name, zeroed) in groups.items():
        about = end_to_end(_entries(lm, study.entities(name).kind, settings.contexts))
        rises, elsewhere = [], []  # of each neuron, [texts, 1 + controls]
        for layer, neuron in zeroed:
            firing = neuron_activations(lm, *about, layer, every_token=True)
            found = _found(neurons, name, layer)
            others = matched_neurons(firing, neuron, settings.matched_neurons, found)
            losses = [*losses_without(lm, *about, layer, [neuron, *others], budget)]
            rises.append(_rises(losses))
            elsewhere.append(_rises(losses_without(lm, *neutral, layer, [neuron, *others], budget)))
            worst.append(_worst_tokens(lm, *about, losses, f"L{layer}.{neuron}"))
        own, controls = _split(rises)
        _beside_matched(result, metric, own, controls, "nats a token", "texts")
        _beside_other_text(result, metric, _split(rises), _split(elsewhere))
    _measure_following(study, lm, result, "ablated_neuron_rho", place, best)
    result.frames["worst_tokens"] = pl.concat(worst)
    return result


def _exact_model(study: Study) -> LanguageModel:
    """Return the resident model in float32.

    Without a single neuron of SmolLM2-135M the loss of a text changes by some ten-thousandths of a
    nat. Rounding to bfloat16 changes it by several times that, and otherwise on each processor.
    """
    exact = study.profile.resident_model.model_copy(update={"dtype": "float32"})
    return study.language_model(exact)


def _best(neurons: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the neurons that a search found for a set, each once; first what follows best.

    The search ranks projections on weights. What is pinned or set to zero is the activation, so
    that these are ranked by it, on training names.
    """
    size = pl.col("activation").abs().fill_nan(0)
    ranked = neurons.filter(set=name).sort(size, descending=True, maintain_order=True)
    return ranked.unique(["layer", "neuron"], maintain_order=True, keep="first")


def _found(neurons: pl.DataFrame, name: str, layer: int) -> list[int]:
    """Return the neurons of a block that a search found for a set: no controls of one another."""
    return neurons.filter(set=name, layer=layer)["neuron"].to_list()


def _measure_following(
    study: Study, lm: LanguageModel, result: StepResult, metric: str, name: str,
    neurons: pl.DataFrame,
) -> None:  # fmt: skip
    """Measure how well what neurons do follows their targets on test names: their mean ρ.

    Each has the sign that training names have given it, so that chance is 0.
    """
    entity_set, seed = study.entities(name), study.profile.seeds[0]
    y, read = entity_set.y(), some(study.rows(name, seed).test)
    active = activations(study, lm, name, read, neurons["layer"].unique().to_list())
    columns = []  # of each neuron, what it does and its target, [n] each
    for row in neurons.iter_rows(named=True):
        own = active[row["layer"]][:, row["neuron"]].double().numpy()
        signed = np.sign(row["activation"]) * own
        columns += [signed, y[read, entity_set.targets.index(row["target"])]]
    arm = Fixed({seed: whole(len(y), read, np.column_stack(columns))})

    def rho(rows: NDArray[np.int64], both: Floats) -> float:
        return mean_spearman(both[rows, 1::2], both[rows, ::2])

    result.measure(metric, HeldOut(entity_set).estimate(rho, arm), "ρ")


def _entries(lm: LanguageModel, topic: Topic, count: int) -> list[list[int]]:
    return [lm.text_ids(text) for text in entries(topic, count)]


def _rises(losses: Iterable[Tensor]) -> Floats:
    """Return by how much the mean loss of each text rises without each neuron, [texts, V]."""
    found = [(of_text[1:] - of_text[0]).mean(dim=1) for of_text in losses]
    return torch.stack(found).double().numpy()


def _split(rises: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return the mean of the neurons' own rises, [texts], and those of all controls, [texts, C]."""
    return np.mean([of[:, 0] for of in rises], axis=0), np.hstack([of[:, 1:] for of in rises])


def _beside_matched(
    result: StepResult, metric: str, own: Floats, others: Floats, unit: str, over: str
) -> None:
    """Measure a mean over rows [n] beside the 95th percentile of the means of controls [n, C]."""

    def control(kept: NDArray[np.int64], _: int) -> float:
        return float(np.quantile(others[kept].mean(axis=0), 0.95))

    def gap(kept: NDArray[np.int64], _: int) -> float:
        return float(own[kept].mean()) - control(kept, 0)

    result.measure(metric, estimate_mean(own, over), unit)
    result.measure(f"{metric}_matched", estimate_statistic(control, len(own), over), unit)
    result.compare(metric, f"{metric}_matched", estimate_statistic(gap, len(own), over))


def _beside_other_text(
    result: StepResult,
    metric: str,
    about: tuple[Floats, Floats],
    elsewhere: tuple[Floats, Floats],
) -> None:
    """Measure how much less the loss rises on text of another topic, for neurons and controls.

    Args:
        result: The result of the step.
        metric: The metric of the rise on text about the topic.
        about: The rises of the neurons [n] and of their controls [n, C] on such text.
        elsewhere: The same on text about something else, [m] and [m, C]; texts come in no pairs.
    """
    own, controls = (np.concatenate(both) for both in zip(about, elsewhere, strict=True))
    topic = np.repeat([0, 1], [len(about[0]), len(elsewhere[0])])

    def gap(values: Floats, kept: NDArray[np.int64]) -> Floats:
        of, rows = topic[kept], values[kept]
        return np.asarray(rows[of == 0].mean(axis=0) - rows[of == 1].mean(axis=0))

    def control(kept: NDArray[np.int64], _: int) -> float:
        return float(np.quantile(gap(controls, kept), 0.95))

    def less_control(kept: NDArray[np.int64], _: int) -> float:
        return float(gap(own, kept)) - control(kept, 0)

    n, unit, name = len(own), "nats a token", f"{metric}_gap"
    result.measure(f"{metric}_elsewhere", estimate_mean(elsewhere[0], "texts"), unit)
    of_own = estimate_statistic(lambda kept, _: float(gap(own, kept)), n, "texts")
    result.measure(name, of_own, unit)
    result.measure(f"{name}_matched", estimate_statistic(control, n, "texts"), unit)
    result.compare(name, f"{name}_matched", estimate_statistic(less_control, n, "texts"))


def _worst_tokens(
    lm: LanguageModel, ids: NDArray[Any], offsets: NDArray[np.int64], losses: list[Tensor],
    neuron: str,
) -> pl.DataFrame:  # fmt: skip
    """Return the tokens whose loss rises most without a neuron, with what stands before them."""
    untouched, *zeroed = torch.cat(losses, dim=1).unbind()  # [2 + controls, all predicted tokens]
    rises = zeroed[0] - untouched
    matched = torch.stack(zeroed[1:]).amax(dim=0) - untouched
    predicted = np.delete(np.arange(len(ids)), offsets[:-1])  # all but the document starts
    rows = []
    for worst in rises.topk(min(SHOWN_TOKENS, len(rises))).indices.tolist():
        at = predicted[worst]
        start = offsets[np.searchsorted(offsets, at, side="right") - 1] + 1
        before, token = (lm.tokenizer.decode(part.tolist()) for part in (ids[start:at], ids[[at]]))
        numbers = (float(of_token[worst]) for of_token in (untouched, rises, matched))
        rows.append((neuron, before, token, *numbers))
    schema = ["neuron", "context", "next_token", "loss", "increase", "matched"]
    return pl.DataFrame(rows, schema=schema, orient="row")


def measure_sweep(study: Study, neurons: pl.DataFrame) -> StepResult:
    """Pin time neurons to a range of values and follow the predicted year.

    Works of the time set fill the paper's prompt "… by … was written in 19"; a set without
    creators uses its names alone. Swept are the time neuron of the search whose activation follows
    the year best, and those that the paper names. ``swept_neuron_rho`` is its ρ on test names.
    ``sweep_shift`` is by how much the expected next digit differs between the ends of the sweep of
    the best one, and ``sweep_shift_<neuron>`` that of a named one; the control is the 95th
    percentile over neurons of the same block that fire as strongly, pinned to the same multiples of
    their own activation. The paper's control are the first nine neurons of the block.

    The frame ``sweep`` follows the most probable next tokens under the first prompts, and
    ``shifts`` has the neurons beside their controls.

    Args:
        study: The study of the run.
        neurons: Rows of the neuron search.
    """
    name, settings = study.profile.time_set, study.profile.steering
    best = _best(neurons, name).head(1)
    swept = {"sweep_shift": best.select("layer", "neuron").row(0)}
    for named in study.profile.resident_model.named_neurons:
        if study.entities(named.set).kind == "time":
            swept[f"sweep_shift_L{named.layer}_{named.neuron}"] = (named.layer, named.neuron)
    tested = study.entities(name).frame.filter("is_test")
    works = tested.sample(min(settings.swept_works, tested.height), seed=0)
    prompts = [_undated(row) for row in works.iter_rows(named=True)]
    lm = _exact_model(study)
    read, digits = some(study.rows(name, study.profile.seeds[0]).train), _digits(lm)
    result, frames, compared = StepResult(), [], []
    _measure_following(study, lm, result, "swept_neuron_rho", name, best)
    for metric, (layer, neuron) in swept.items():
        firing = activations(study, lm, name, read, [layer])[layer]
        found = _found(neurons, name, layer)
        others = matched_neurons(firing, neuron, settings.swept_controls, found)
        values = sweep_values(firing, neuron, SWEEP)
        # Only the two ends of the sweep are compared with the controls.
        ends = [sweep_values(firing, other, (SWEEP[0], SWEEP[-1])) for other in others]
        pinned = [*[neuron] * len(values), *np.repeat(others, 2).tolist()]
        pins = [*values, *(value for pair in ends for value in pair)]
        shifts = np.empty((len(prompts), 1 + len(others)))
        for row, text in enumerate(prompts):
            odds = sweep_neuron(lm, lm.text_ids(text), layer, pinned, pins)  # [1 + V, vocabulary]
            own, controls = odds[: 1 + len(values)], odds[1 + len(values) :]
            digit = _expected_digit(torch.cat([own[[1, -1]], controls]), digits)
            shifts[row] = np.abs(digit[1::2] - digit[::2])
            if row < SHOWN_WORKS:
                labels = {"prompt": pl.lit(text), "neuron": pl.lit(f"L{layer}.{neuron}")}
                frames.append(top_tokens(lm, own, values).with_columns(**labels))
        _beside_matched(result, metric, shifts[:, 0], shifts[:, 1:], "digits", "prompts")
        control = result.metrics[f"{metric}_matched"].mean
        compared.append((f"L{layer}.{neuron}", shifts[:, 0].mean(), control))
    result.frames["sweep"] = pl.concat(frames)
    schema = ["neuron", "shift", "controls, 95th percentile"]
    result.frames["shifts"] = pl.DataFrame(compared, schema=schema, orient="row")
    return result


def _expected_digit(probabilities: Tensor, digits: tuple[list[int], Tensor]) -> NDArray[np.float64]:
    """Return the mean of the next digit, if the next token is one, [V], from [V, vocabulary]."""
    ids, first = digits
    of_digits = probabilities[:, ids].double()
    return np.asarray((of_digits @ first) / of_digits.sum(1))


def _undated(row: Mapping[str, Any]) -> str:
    """Return a prompt that leaves the decade, or the century of a death, to the model."""
    if {"title", "creator"} <= row.keys():
        return f"{row['title']} by {row['creator']} was written in 19"
    what = "died in 1" if "death_year" in row else "appeared in 19"
    return f"{row['entity']} {what}"


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
