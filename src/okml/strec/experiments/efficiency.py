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
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from okml.accelerator import release_memory
from okml.ledger import estimate_difference, estimate_mean, exact
from okml.runtime import pick_dtype, progress
from okml.seqrec.backbone import Backbone
from okml.seqrec.losses import build_loss
from okml.seqrec.popularity import item_counts
from okml.steps import StepResult
from okml.strec.arms import CAUSAL
from okml.strec.costs import encoder_costs
from okml.strec.data import SplitLog
from okml.strec.experiments.candidates import (
    FULL,
    LAST,
    Candidate,
    arms_at,
    candidate,
    candidates,
    measured_arms,
    random_histories,
    schedule_arms,
)
from okml.strec.model import STRec
from okml.strec.schedule import savings
from okml.strec.study import Study
from okml.strec.timing import peak_of, percentiles, saved_bytes, time_calls, time_turns

TOP = 10
ROUNDS = "rounds of timing"

Seconds = Mapping[str, NDArray[np.float64]]  # seconds of each round, [r], by encoder


def measure_efficiency(study: Study) -> StepResult:
    """Measure E1 to E4 with the shapes of the first data set."""
    profile, data = study.profile, study.data(study.profile.main)
    histories = random_histories(study, data, profile.efficiency.batch, data.settings.length)
    measured = candidates(study, data, measured_arms(profile), histories)
    schedules = [candidate(study, data, arm, histories) for arm in schedule_arms(profile)]
    with _published_mode():
        published = _in_turns(study, {each.name: each for each in (*measured, *schedules)})
    saved = {each.name: _saved(each) for each in measured}
    with _inference_mode(study):
        encoding = _in_turns(study, {each.name: each for each in measured})
        scoring = _in_turns(study, {each.name: _scoring(each) for each in measured})
    training, targets = _train_in_turns(study, measured, data)
    result = StepResult()
    result.frames = {
        "published": pl.DataFrame(
            [
                {
                    "encoder": each.name,
                    **_milliseconds(published[each.name]),
                    "saved MiB": saved[each.name] / 2**20,
                    "peak MiB": _peak_mib(study, each, _published_mode()),
                }
                for each in measured
            ]
        ),
        "inference": pl.DataFrame(
            [
                {
                    "encoder": each.name,
                    **_milliseconds(scoring[each.name]),
                    "ms encoder alone": float(np.median(encoding[each.name])) * 1000,
                    "histories/s": len(each.items) / float(np.median(scoring[each.name])),
                    "peak MiB": _peak_mib(study, each, _inference_mode(study)),
                    "MFLOP": None
                    if each.every_query
                    else each.encoder.flops(each.items.shape[1]) / 1e6,
                }
                for each in measured
            ]
        ),
        "serving": pl.DataFrame(
            [row for each in progress(measured, "latency") for row in _serving(study, each)]
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
                {
                    **_of_every_query(each),
                    "time": float(np.median(published[each.name] / published[FULL])),
                    "memory": _saved(each) / saved[FULL],
                }
                for each in schedules
            ]
        ).select("schedule", "sparsity", "time", "memory", "tokens", "flops"),
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
        count = max(1, settings.tokens // length)
        histories = random_histories(study, data, count, length)
        measured = candidates(study, data, arms_at(profile, length), histories)
        with _inference_mode(study):
            seconds = _in_turns(study, {each.name: each for each in measured})
        for each in measured:
            try:
                memory = _saved(each) / count / 2**20
            except torch.OutOfMemoryError:
                release_memory()
                memory = None
            spent = float(np.median(seconds[each.name])) / count * 1000
            rows.append(
                {
                    "length": length,
                    "encoder": each.name,
                    "ms a history": None if np.isnan(spent) else spent,
                    "saved MiB a history": memory,
                }
            )
    return StepResult(frames={"lengths": pl.DataFrame(rows)})


def _in_turns(study: Study, calls: Mapping[str, Callable[[], Tensor]]) -> Seconds:
    return time_turns(calls, study.profile.efficiency.repeats, study.device)


@contextmanager
def _published_mode() -> Iterator[None]:
    """Enter the mode of E1, without TF32, the default of the authors' version of PyTorch."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        yield
    torch.set_float32_matmul_precision(before)


@contextmanager
def _inference_mode(study: Study) -> Iterator[None]:
    """Enter the mode of E2 and E3."""
    dtype = pick_dtype(study.profile.efficiency.inference_dtype)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if dtype != torch.float32:
            stack.enter_context(torch.autocast(study.device.type, dtype))
        yield


def _scoring(candidate: Candidate) -> Callable[[], Tensor]:
    """Return a function that encodes the histories and takes the top ten of all items."""
    matrix = candidate.encoder.item_matrix()
    return lambda: (candidate() @ matrix.T).topk(TOP).indices


def _milliseconds(seconds: NDArray[np.float64]) -> dict[str, float]:
    found = percentiles(seconds)
    return {"ms": found.median * 1000, "ms p25": found.p25 * 1000, "ms p75": found.p75 * 1000}


def _peak_mib(
    study: Study, candidate: Candidate, mode: AbstractContextManager[None]
) -> float | None:
    with mode:
        peak = peak_of(candidate, study.device)
    return None if peak is None else peak / 2**20


def _saved(candidate: Candidate) -> int:
    """Return the bytes that the forward pass of E1 saves for a backward pass."""
    with sdpa_kernel(SDPBackend.MATH):
        return saved_bytes(candidate, candidate.encoder)


def _of_every_query(candidate: Candidate) -> dict[str, Any]:
    """Return tokens and operations of STRec as shares of the backbone's with every query."""
    encoder = cast(STRec, candidate.encoder)
    settings, schedule = encoder.settings, encoder.schedule
    length, sizes = settings.length, (settings.length, settings.width, settings.hidden or 0)
    left = savings(schedule, length)
    everything = encoder_costs((length,) * settings.layers, *sizes).encoder
    return {
        "schedule": "-".join(map(str, schedule)),
        "sparsity": left.sparsity,
        "tokens": left.tokens,
        "flops": encoder_costs(schedule, *sizes).encoder / everything,
    }


def _serving(study: Study, candidate: Candidate) -> list[dict[str, Any]]:
    """Return the latencies of E3, one row for each batch size."""
    settings = study.profile.efficiency
    encode = candidate.encode
    if settings.compile:
        torch.compiler.reset()  # beyond the recompilation limit, code would stay eager
        encode = torch.compile(encode, mode="reduce-overhead")
    rows = []
    for batch in settings.serving_batches:
        items, times = candidate.items[:batch], candidate.times[:batch]
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
    study: Study, measured: Sequence[Candidate], data: SplitLog
) -> tuple[Seconds, dict[str, int]]:
    """Measure E4: encoders with one target a history, and causal SASRec with one a position.

    Returns:
        The seconds of whole training steps, and the number of targets of a step.
    """
    torch.manual_seed(0)
    settings = study.profile.sasrec(data.settings, study.profile.causal.layers[0])
    causal = Backbone(data.items, settings).to(study.device)
    items = measured[0].items
    steps = {
        each.name: _training_step(study, data, each.encoder, each, items[:, -1])
        for each in measured
    }
    steps[CAUSAL] = _training_step(study, data, causal, lambda: causal(items, padded=False), items)
    targets = {name: items.numel() if name == CAUSAL else len(items) for name in steps}
    seconds = time_turns(steps, max(3, study.profile.efficiency.repeats // 4), study.device)
    for each in measured:
        each.encoder.eval()
    return seconds, targets


def _training_step(
    study: Study,
    data: SplitLog,
    encoder: Backbone,
    encode: Callable[[], Tensor],
    targets: Tensor,
) -> Callable[[], None]:
    """Return a function that takes a whole training step: forward, loss, backward, Adam."""
    profile = study.profile
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
