"""Time and memory by the authors' measurement and by practical ones (Table 3).

There are four measurements of the same encoders, with random weights, since the cost does not
depend on them:

* E1, the authors' measurement: a forward pass that saves activations for a backward pass, in
  float32, with attention by plain matrix products, without scoring;
* E2, inference: no saved activations, fused kernels, scores of all items and the top ten;
* E3, serving: the latency of small batches;
* E4, training: targets per second.

Compared encoders are timed in turns, on a CPU by processor time; a round of turns is the unit of
the intervals. Latencies are wall time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from okml.ledger import estimate_difference, estimate_mean, exact
from okml.runtime import pick_dtype, progress
from okml.seqrec.backbone import Backbone
from okml.seqrec.losses import build_loss
from okml.seqrec.popularity import item_counts
from okml.steps import StepResult
from okml.strec.costs import encoder_costs
from okml.strec.data import Prepared
from okml.strec.experiments.candidates import (
    FULL,
    LAST,
    Candidate,
    Inputs,
    candidates,
    candidates_at,
    random_histories,
    schedule_candidates,
)
from okml.strec.schedule import savings
from okml.strec.settings import StrecProfile
from okml.strec.study import Study
from okml.strec.timing import peak_bytes, percentiles, saved_bytes, time_calls, time_turns

TOP = 10
ROUNDS = "rounds of timing"
CAUSAL = "causal SASRec"

Seconds = Mapping[str, NDArray[np.float64]]  # seconds of each round, [r], by encoder


def measure_efficiency(study: Study) -> StepResult:
    """Measure E1 to E4 with the shapes of the first data set."""
    profile, data = study.profile, study.data(study.profile.main)
    inputs = random_histories(study, data, profile.efficiency.batch, data.settings.length)
    measured = candidates(study, data)
    schedules = dict(schedule_candidates(study, data))
    result = StepResult()
    published = _as_published(study, [*measured, *schedules.values()], inputs)
    saved = {each.name: _saved(each, inputs.newest(each.length)) for each in measured}
    encoding = _encode_in_turns(study, measured, inputs)
    scoring = _encode_in_turns(study, measured, inputs, scoring=True)
    training, targets = _train_in_turns(study, measured, inputs, data)
    result.frames = {
        "published": pl.DataFrame(
            [
                {
                    "encoder": each.name,
                    **_milliseconds(published[each.name]),
                    "saved MiB": saved[each.name] / 2**20,
                    "peak MiB": _peak_as_published(study, each, inputs),
                }
                for each in measured
            ]
        ),
        "inference": pl.DataFrame(
            [
                _inference_row(study, each, inputs, encoding[each.name], scoring[each.name])
                for each in measured
            ]
        ),
        "serving": pl.DataFrame(
            [row for each in progress(measured, "latency") for row in _serving(study, each, inputs)]
        ),
        "training": pl.DataFrame(
            [
                {
                    "encoder": name,
                    "targets a step": targets[name],
                    "ms a step": float(np.median(seconds)) * 1000,
                    "targets/s": targets[name] / float(np.median(seconds)),
                }
                for name, seconds in training.items()
            ]
        ),
        "schedules": pl.DataFrame(
            [
                _schedule_row(study, data, inputs, schedule, each, published, saved[FULL])
                for schedule, each in schedules.items()
            ]
        ),
    }
    _measure_savings(result, published, saved)
    _measure_ratios(result, encoding, saved, training, targets)
    return result


def measure_lengths(study: Study) -> StepResult:
    """Time inference at growing lengths with a constant number of tokens in a pass."""
    profile, data = study.profile, study.data(study.profile.main)
    settings = profile.efficiency
    rows = []
    for length in progress(settings.lengths, "lengths"):
        inputs = random_histories(study, data, max(1, settings.tokens // length), length)
        measured = candidates_at(study, data, length)
        seconds = _encode_in_turns(study, measured, inputs)
        for each in measured:
            read = inputs.newest(each.length)
            try:
                memory = _saved(each, read) / len(read.items) / 2**20
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                memory = None
            spent = float(np.median(seconds[each.name])) / len(read.items) * 1000
            rows.append(
                {
                    "length": length,
                    "encoder": each.name,
                    "ms a history": None if np.isnan(spent) else spent,
                    "saved MiB a history": memory,
                }
            )
    return StepResult(frames={"lengths": pl.DataFrame(rows)})


def _as_published(study: Study, measured: Sequence[Candidate], inputs: Inputs) -> Seconds:
    """Return the times of E1."""
    calls = {each.name: _encoding(each, inputs) for each in measured}
    with _published_mode():
        return time_turns(calls, study.profile.efficiency.repeats, study.device)


def _peak_as_published(study: Study, candidate: Candidate, inputs: Inputs) -> float | None:
    with _published_mode():
        peak = peak_bytes(_encoding(candidate, inputs), study.device)
    return None if peak is None else peak / 2**20


@contextmanager
def _published_mode() -> Iterator[None]:
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), _exact_float32():
        yield


def _encoding(candidate: Candidate, inputs: Inputs) -> Callable[[], Tensor]:
    """Return a function that encodes the newest items, as many as the encoder reads."""
    read = inputs.newest(candidate.length)
    return lambda: candidate.encode(read.items, read.times)


def _milliseconds(seconds: NDArray[np.float64]) -> dict[str, float]:
    found = percentiles(seconds)
    return {"ms": found.median * 1000, "ms p25": found.p25 * 1000, "ms p75": found.p75 * 1000}


def _schedule_row(
    study: Study,
    data: Prepared,
    inputs: Inputs,
    schedule: tuple[int, ...],
    candidate: Candidate,
    published: Seconds,
    saved: int,
) -> dict[str, Any]:
    """Return E1 of a schedule of the sweep, as shares of the backbone's (Figure 5).

    Args:
        study: The study of the run.
        data: The data set with the measured shapes.
        inputs: The histories that the encoders read.
        schedule: The number of items that each layer keeps.
        candidate: STRec with this schedule.
        published: The seconds of E1, by encoder.
        saved: The bytes that the backbone saves for a backward pass.
    """
    network, length = study.profile.network, data.settings.length
    everything = encoder_costs((length,) * network.layers, length, network.width, network.hidden)
    own = encoder_costs(schedule, length, network.width, network.hidden)
    left = savings(schedule, length)
    return {
        "schedule": "-".join(map(str, schedule)),
        "sparsity": left.sparsity,
        "time": float(np.median(published[candidate.name] / published[FULL])),
        "memory": _saved(candidate, inputs) / saved,
        "tokens": left.tokens,
        "flops": own.encoder / everything.encoder,
    }


def _saved(candidate: Candidate, inputs: Inputs) -> int:
    """Return the bytes that the forward pass of E1 saves for a backward pass."""
    with sdpa_kernel(SDPBackend.MATH):
        return saved_bytes(lambda: candidate.encode(inputs.items, inputs.times), candidate.encoder)


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Disable TF32 for matrix products, the default of the authors' version of PyTorch."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def _encode_in_turns(
    study: Study, measured: Sequence[Candidate], inputs: Inputs, scoring: bool = False
) -> Seconds:
    """Return the times of E2: encoding, and with ``scoring`` also the top ten of all items."""

    def call(candidate: Candidate) -> Callable[[], Tensor]:
        matrix, encode = candidate.encoder.item_matrix(), _encoding(candidate, inputs)
        return (lambda: (encode() @ matrix.T).topk(TOP).indices) if scoring else encode

    calls = {each.name: call(each) for each in measured}
    with _inference_mode(study):
        return time_turns(calls, study.profile.efficiency.repeats, study.device)


def _inference_row(
    study: Study,
    candidate: Candidate,
    inputs: Inputs,
    encoding: NDArray[np.float64],
    scoring: NDArray[np.float64],
) -> dict[str, Any]:
    with _inference_mode(study):
        peak = peak_bytes(_encoding(candidate, inputs), study.device)
    return {
        "encoder": candidate.name,
        **_milliseconds(scoring),
        "ms encoder alone": float(np.median(encoding)) * 1000,
        "histories/s": len(inputs.items) / float(np.median(scoring)),
        "peak MiB": None if peak is None else peak / 2**20,
        "MFLOP": candidate.encoder.flops(candidate.length) / 1e6
        if candidate.name != FULL
        else None,
    }


@contextmanager
def _inference_mode(study: Study) -> Iterator[None]:
    dtype = pick_dtype(study.profile.efficiency.inference_dtype)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if dtype != torch.float32:
            stack.enter_context(torch.autocast(study.device.type, dtype))
        yield


def _serving(study: Study, candidate: Candidate, inputs: Inputs) -> list[dict[str, Any]]:
    """Return the latencies of E3, one row for each batch size."""
    settings = study.profile.efficiency
    encode = candidate.encode
    if settings.compile:
        torch.compiler.reset()  # beyond the recompilation limit, code would stay eager
        encode = torch.compile(encode, mode="reduce-overhead")
    read, rows = inputs.newest(candidate.length), []
    for batch in settings.serving_batches:
        items, times = read.items[:batch], read.times[:batch]
        with _inference_mode(study):
            timing = time_calls(
                lambda items=items, times=times: encode(items, times),  # type: ignore[misc]
                settings.serving_calls,
                study.device,
            )
        rows.append(
            {
                "encoder": candidate.name,
                "batch": batch,
                "p50 ms": timing.median * 1000,
                "p95 ms": timing.p95 * 1000,
                "p99 ms": timing.p99 * 1000,
            }
        )
    return rows


def _train_in_turns(
    study: Study, measured: Sequence[Candidate], inputs: Inputs, data: Prepared
) -> tuple[Seconds, dict[str, int]]:
    """Measure E4: encoders with one target a history, and causal SASRec with one a position.

    Returns:
        The seconds of whole training steps, and the number of targets of a step.
    """
    torch.manual_seed(0)
    causal = study.new_causal(data, study.profile.causal.layers[0])
    last = inputs.items[:, -1]
    steps = {
        each.name: _training_step(study, data, each.encoder, _encoding(each, inputs), last)
        for each in measured
    }
    steps[CAUSAL] = _training_step(
        study, data, causal, lambda: causal(inputs.items, padded=False), inputs.items
    )
    targets = {name: inputs.items.numel() if name == CAUSAL else len(last) for name in steps}
    seconds = time_turns(steps, max(3, study.profile.efficiency.repeats // 4), study.device)
    for each in measured:
        each.encoder.eval()
    return seconds, targets


def _training_step(
    study: Study,
    data: Prepared,
    encoder: Backbone,
    encode: Callable[[], Tensor],
    targets: Tensor,
) -> Callable[[], None]:
    """Return a function that takes a whole training step: forward, loss, backward, Adam."""
    profile: StrecProfile = study.profile
    counts = item_counts(data.interactions, data.split.train_end)
    loss = build_loss(profile.recipe.loss, counts)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-4)
    encoder.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(
            study.device.type, torch.bfloat16, enabled=profile.mixed_precision == "bf16"
        ):
            value = loss(encode(), encoder.item_matrix(), targets)
        value.backward()
        optimizer.step()
        # Free the gradients, which would stay in memory during the turns of other encoders.
        optimizer.zero_grad(set_to_none=True)

    return step


def _measure_savings(result: StepResult, published: Seconds, saved: Mapping[str, int]) -> None:
    """Measure the savings of the backbone's time and memory by the authors' measurement (E1)."""
    full = published[FULL]

    def saving(name: str) -> NDArray[np.float64]:
        return 100 * (1 - published[name] / full)

    time, last = "inference_time_saved_pct", "last_query_time_saved_pct"
    result.measure(time, estimate_mean(saving("STRec"), ROUNDS), "%")
    result.measure(last, estimate_mean(saving(LAST), ROUNDS), "%")
    result.compare(time, last, estimate_difference(saving("STRec"), saving(LAST), ROUNDS))
    extra = saving("STRec, random") - saving("STRec")
    result.measure("learned_sample_time_pct", estimate_mean(extra, ROUNDS), "% of the backbone's")
    for name, encoder in (
        ("activation_memory_saved_pct", "STRec"),
        ("last_query_memory_saved_pct", LAST),
    ):
        result.measure(name, exact(100 * (1 - saved[encoder] / saved[FULL])), "%")


def _measure_ratios(
    result: StepResult,
    encoding: Seconds,
    saved: Mapping[str, int],
    training: Seconds,
    targets: Mapping[str, int],
) -> None:
    """Measure ratios of STRec and other encoders: inference (E2), memory (E1), training (E4)."""
    result.measure("encoder_time_ratio", estimate_mean(encoding["STRec"] / encoding[LAST], ROUNDS))
    informer = "informer, distilling"
    if informer in encoding:
        ratio = encoding[informer] / encoding["STRec"]
        result.measure("informer_time_ratio", estimate_mean(ratio, ROUNDS))
        result.measure("informer_memory_ratio", exact(saved[informer] / saved["STRec"]))
    per_target = {name: training[name] / targets[name] for name in ("STRec", CAUSAL)}
    ratio = per_target["STRec"] / per_target[CAUSAL]
    result.measure("causal_targets_per_second_ratio", estimate_mean(ratio, ROUNDS))
