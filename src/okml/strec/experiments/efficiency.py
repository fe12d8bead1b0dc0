"""Time and memory by the authors' measurement and by practical ones (Table 3).

There are four measurements of the same encoders, with random weights, since the cost does not
depend on them:

* E1, the authors' measurement: a forward pass that saves activations for a backward pass, in
  float32, with attention by plain matrix products, without scoring;
* E2, inference: no saved activations, fused kernels, scores of all items and the top ten;
* E3, serving: the latency of small batches;
* E4, training: targets per second.

Everything is timed in turns: compared encoders in E1, E2 and E4, by processor time on a CPU, and
the batches of an encoder in E3, by the clock on the wall, since a server's user waits. A round of
turns is the unit of the intervals. What runs out of the device's memory has no value, and the
column ``failed`` says at which batch; the measurements before it and of other encoders stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from okml.ledger import estimate_difference, estimate_mean, exact
from okml.runtime import progress
from okml.seqrec.backbone import Backbone
from okml.seqrec.losses import build_loss
from okml.seqrec.popularity import item_counts
from okml.steps import StepResult
from okml.strec.arms import CAUSAL, recency_arms, sampled, short_arms
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
)
from okml.strec.model import STRec
from okml.strec.schedule import RELEASED, encoder_costs, savings
from okml.strec.settings import NetworkSettings
from okml.strec.study import Study
from okml.strec.timing import (
    peak_of,
    percentiles,
    saved_bytes,
    time_turns,
    within_memory,
)

TOP = 10
COUNTED = 8  # histories of a pass whose kept bytes are counted
ROUNDS = "rounds of timing"
PERCENTILES = (50, 95, 99)  # latencies are reported at these

# Seconds of each round, [r], by encoder; NaN from the round on in which it ran out of memory.
Seconds = Mapping[str, NDArray[np.float64]]


def measure_efficiency(study: Study) -> StepResult:
    """Measure E1 to E4 with the shapes of the first data set."""
    profile, data = study.profile, study.data(study.profile.main)
    histories = random_histories(study, data, profile.efficiency.batch, data.settings.length)
    measured = candidates(study, data, measured_arms(profile), histories)
    schedules = [candidate(study, data, arm, histories) for arm in recency_arms(profile)]
    with _published_mode():
        published = _in_turns(study, {each.name: each for each in (*measured, *schedules)})
    saved = {each.name: _saved(each) for each in measured}
    with _inference_mode(study):
        encoding, scoring = _with_and_without_scores(study, measured)
    training, targets = _train_in_turns(study, measured, data)
    result = StepResult()
    result.frames = {
        "published": _frame(
            {
                "encoder": each.name,
                **_milliseconds(published[each.name]),
                "saved MiB": saved[each.name] / 2**20,
                "peak MiB": peak,
                "failed": _failed(len(each.items), published[each.name], peak),
            }
            for each, peak in _peaks(study, measured, _published_mode)
        ),
        "inference": _frame(
            {
                "encoder": each.name,
                **_milliseconds(scoring[each.name]),
                "ms encoder alone": _median(encoding[each.name]) * 1000,
                "histories/s": len(each.items) / _median(scoring[each.name]),
                "peak MiB": peak,
                "MFLOP": None
                if each.every_query
                else each.encoder.flops(each.items.shape[1]) / 1e6,
                "failed": _failed(len(each.items), encoding[each.name], scoring[each.name], peak),
            }
            for each, peak in _peaks(study, measured, partial(_inference_mode, study))
        ),
        "serving": _frame(
            row for each in progress(measured, "latency") for row in _serving(study, each)
        ),
        "training": _frame(
            {
                "encoder": name,
                "targets a step": targets[name],
                "ms a step": _median(seconds) * 1000,
                "targets/s": targets[name] / _median(seconds),
                "failed": _failed(profile.efficiency.batch, seconds),
            }
            for name, seconds in training.items()
        ),
        "schedules": _frame(
            {
                **_of_every_query(each),
                "time": _median(published[each.name] / published[FULL]),
                "memory": _saved(each) / saved[FULL],
                "failed": _failed(profile.efficiency.batch, published[each.name]),
            }
            for each in schedules
        ).select("schedule", "sparsity", "time", "memory", "tokens", "flops"),
    }
    _measure_savings(result, published)
    _measure_memory(result, study, data)
    share = saved["STRec"] / saved[FULL]
    result.measure("activation_memory_saved_pct", exact(100 * (1 - share)), "%")
    for arm in short_arms(profile.main)[-1:]:  # the longest of them
        saving = 100 * (1 - published[arm.name] / published[FULL])
        _measure(result, "newest_items_time_saved_pct", saving, "%")
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
        rows += [
            {
                "length": length,
                "encoder": each.name,
                "ms a history": _median(seconds[each.name]) / count * 1000,
                "saved MiB a history": _saved(each) / count / 2**20,
                "failed": _failed(count, seconds[each.name]),
            }
            for each in measured
        ]
    return StepResult(frames={"lengths": _frame(rows)})


def _frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame, without the column ``failed`` if nothing ran out of memory."""
    frame = pl.DataFrame(list(rows), infer_schema_length=None)
    frame = frame.with_columns(pl.selectors.float().fill_nan(None))
    return frame.drop("failed") if frame["failed"].is_null().all() else frame


def _failed(batch: int, *measured: NDArray[np.float64] | float | None) -> str | None:
    """Return what a table says of a value that is NaN, since memory ran out; else None."""
    ran_out = any(np.isnan(value).any() for value in measured if value is not None)
    return f"out of memory at batch {batch}" if ran_out else None


def _median(values: NDArray[np.float64]) -> float:
    """Return the median of the finished rounds; NaN if there are none."""
    return float(percentiles(values, (50,))[0])


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
    with torch.inference_mode(), _precision(study):
        yield


def _precision(study: Study) -> torch.autocast:
    bf16 = study.profile.mixed_precision == "bf16"
    return torch.autocast(study.device.type, torch.bfloat16, enabled=bf16)


def _with_and_without_scores(
    study: Study, measured: Sequence[Candidate]
) -> tuple[Seconds, Seconds]:
    """Time encoders, and the scores of all items for their outputs, in the same turns.

    Both parts of a pass are timed apart: two whole passes, of which one only encodes, differ by
    less than the machine's noise where the encoder is dear.

    Returns:
        The seconds of encoders alone, and of both parts together.
    """
    calls: dict[tuple[str, bool], Callable[[], Tensor]] = {}
    for each in measured:
        calls |= {(each.name, False): each, (each.name, True): _scoring(each)}
    seconds = time_turns(calls, study.profile.efficiency.repeats, study.device)
    alone = {each.name: seconds[each.name, False] for each in measured}
    return alone, {name: spent + seconds[name, True] for name, spent in alone.items()}


def _scoring(candidate: Candidate) -> Callable[[], Tensor]:
    """Return a function that takes the top ten of all items; random vectors cost the same."""
    matrix = candidate.encoder.item_matrix()  # [items, d]
    vectors = torch.randn(len(candidate.items), matrix.shape[1], device=matrix.device)
    return lambda: (vectors @ matrix.T).topk(TOP).indices


def _milliseconds(seconds: NDArray[np.float64]) -> dict[str, float]:
    names = ("ms", "ms p25", "ms p75")
    return dict(zip(names, 1000 * percentiles(seconds, (50, 25, 75)), strict=True))


def _peaks(
    study: Study,
    measured: Iterable[Candidate],
    mode: Callable[[], AbstractContextManager[None]],
) -> Iterator[tuple[Candidate, float | None]]:
    """Yield encoders with the MiB that a pass allocates; NaN if there are too few.

    They are None where torch does not count them, as on a CPU.
    """
    for each in measured:
        with mode():
            peak = within_memory(partial(peak_of, each, study.device), np.nan)
        yield each, None if peak is None else peak / 2**20


def _saved(candidate: Candidate) -> int:
    """Return the bytes that the forward pass of E1 saves for a backward pass.

    If they do not fit the device, they are counted from the shapes alone.
    """
    with sdpa_kernel(SDPBackend.MATH):
        saved = within_memory(partial(saved_bytes, candidate, candidate.encoder), None)
        if saved is None:
            shapes = candidate.to(torch.device("cpu"))
            saved = saved_bytes(shapes, shapes.encoder, shapes_only=True)
    return saved


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
    settings, encode = study.profile.efficiency, candidate.encode
    if study.profile.compile:
        torch.compiler.reset()  # beyond the recompilation limit, code would stay eager
        encode = torch.compile(encode, mode="reduce-overhead")
    calls = {
        batch: partial(encode, candidate.items[:batch], candidate.times[:batch])
        for batch in settings.serving_batches
    }
    with _inference_mode(study):
        seconds = time_turns(calls, settings.serving_calls, study.device, time.perf_counter)
    names = [f"p{q} ms" for q in PERCENTILES]
    return [
        {
            "encoder": candidate.name,
            "batch": batch,
            **dict(zip(names, 1000 * percentiles(spent, PERCENTILES), strict=True)),
            "failed": _failed(batch, spent),
        }
        for batch, spent in seconds.items()
    ]


def _train_in_turns(
    study: Study, measured: Sequence[Candidate], data: SplitLog
) -> tuple[Seconds, dict[str, int]]:
    """Measure E4: encoders with one target a history, and causal SASRec with one a position.

    Causal SASRec has as many layers as the others here: what differs is the targets.

    Returns:
        The seconds of whole training steps, and the number of targets of a step.
    """
    torch.manual_seed(0)
    settings = study.profile.sasrec(data.settings, study.profile.network.layers)
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
        with _precision(study):
            value = loss(encode(), encoder.item_matrix(), targets)
        value.backward()
        optimizer.step()

    def and_free() -> None:
        try:
            step()
        finally:  # the gradients would stay in memory during the turns of other encoders
            optimizer.zero_grad(set_to_none=True)

    return and_free


def _measure_memory(result: StepResult, study: Study, data: SplitLog) -> None:
    """Measure the memory that the authors' eight layers save, with their sizes, in every profile.

    What a pass keeps is counted, so a few histories are enough, and a CPU, too.
    """
    length, schedule = max(RELEASED.items())
    profile = study.profile.model_copy(update={"network": NetworkSettings()})
    released = Study(profile, study.run_dir)
    arm = replace(sampled("strec", profile.main, profile.recipe), schedule=schedule)
    histories = random_histories(released, data, COUNTED, length)
    saved = {each.name: _saved(each) for each in candidates(released, data, [arm], histories)}
    for name, encoder in (
        ("released_memory_saved_pct", "STRec"),
        ("released_last_query_memory_saved_pct", LAST),
    ):
        result.measure(name, exact(100 * (1 - saved[encoder] / saved[FULL])), "%")


def _measure_savings(result: StepResult, published: Seconds) -> None:
    """Measure the savings of the backbone's time by the authors' measurement (E1)."""
    full = published[FULL]

    def saving(name: str) -> NDArray[np.float64]:
        return 100 * (1 - published[name] / full)

    ours, last = "inference_time_saved_pct", "last_query_time_saved_pct"
    _measure(result, ours, saving("STRec"), "%")
    _measure(result, last, saving(LAST), "%")
    if ours in result.metrics and last in result.metrics:
        both = ~np.isnan(saving("STRec") + saving(LAST))
        result.compare(
            ours, last, estimate_difference(saving("STRec")[both], saving(LAST)[both], ROUNDS)
        )
    extra = saving("STRec, random") - saving("STRec")
    _measure(result, "learned_sample_time_pct", extra, "% of the backbone's")


def _measure_ratios(
    result: StepResult,
    encoding: Seconds,
    saved: Mapping[str, int],
    training: Seconds,
    targets: Mapping[str, int],
) -> None:
    """Measure ratios of STRec and other encoders: inference (E2), memory (E1), training (E4)."""
    _measure(result, "encoder_time_ratio", encoding["STRec"] / encoding[LAST])
    informer = "informer, distilling"
    if informer in encoding:
        _measure(result, "informer_time_ratio", encoding[informer] / encoding["STRec"])
        result.measure("informer_memory_ratio", exact(saved[informer] / saved["STRec"]))
    per_target = {name: training[name] / targets[name] for name in ("STRec", CAUSAL)}
    _measure(result, "causal_targets_per_second_ratio", per_target["STRec"] / per_target[CAUSAL])


def _measure(result: StepResult, name: str, rounds: NDArray[np.float64], unit: str = "") -> None:
    """Measure a mean over the rounds that all its encoders finished; nothing if there are none."""
    finished = rounds[~np.isnan(rounds)]
    if len(finished):
        result.measure(name, estimate_mean(finished, ROUNDS), unit)
