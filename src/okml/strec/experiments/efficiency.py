"""Time and memory, measured as the authors did and as an engineer would (Table 3).

Four measurements of one set of encoders with random weights, since cost does not depend on them:
E1, the authors' way: a forward pass that keeps what a backward pass would need, float32, attention
by plain matrix products, no scoring; E2, inference: nothing kept, fused kernels, scores of all
items and the ten best; E3, serving: latency of small batches; E4, training: targets a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import polars as pl
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

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
from okml.strec.timing import Timing, peak_bytes, saved_bytes, time_calls

TOP = 10


def measure_efficiency(study: Study) -> StepResult:
    """Measure E1 to E4 on the first data set's shapes."""
    profile, data = study.profile, study.data(study.profile.main)
    settings = profile.efficiency
    result = StepResult()
    inputs = random_histories(study, data, settings.batch, data.settings.length)
    e1, e2, e3, e4 = [], [], [], []
    for candidate in progress(candidates(study, data), "measuring"):
        read = inputs.newest(candidate.length)
        e1.append(_as_published(study, candidate, read))
        e2.append(_inference(study, candidate, read))
        e3 += _serving(study, candidate, read)
        e4.append(_training(study, candidate, read, data))
    e4.append(_causal_training(study, data, inputs))
    schedules = _schedules(study, data, inputs, e1[0])
    frames = {
        "published": e1, "inference": e2, "serving": e3, "training": e4, "schedules": schedules,
    }  # fmt: skip
    result.frames = {name: pl.DataFrame(rows) for name, rows in frames.items()}
    _log(result)
    return result


def measure_lengths(study: Study) -> StepResult:
    """Time inference at growing lengths, the number of tokens in a pass being the same."""
    profile, data = study.profile, study.data(study.profile.main)
    settings = profile.efficiency
    rows = []
    for length in progress(settings.lengths, "lengths"):
        inputs = random_histories(study, data, max(1, settings.tokens // length), length)
        for candidate in candidates_at(study, data, length):
            read = inputs.newest(candidate.length)
            row = {"length": length, "encoder": candidate.name}
            try:
                timing = _time_encoder(study, candidate, read)
                memory = _saved(candidate, read)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                rows.append({**row, "ms a history": None, "saved MiB a history": None})
                continue
            count = len(read.items)
            rows.append(
                {
                    **row,
                    "ms a history": timing.median / count * 1000,
                    "saved MiB a history": memory / count / 2**20,
                }
            )
    return StepResult(frames={"lengths": pl.DataFrame(rows)})


def _as_published(study: Study, candidate: Candidate, inputs: Inputs) -> dict[str, Any]:
    """E1."""

    def call() -> Tensor:
        return candidate.encode(inputs.items, inputs.times)

    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), _exact_float32():
        timing = time_calls(call, study.profile.efficiency.repeats, study.device)
        peak = peak_bytes(call, study.device)
    return {
        "encoder": candidate.name,
        "ms": timing.median * 1000,
        "ms p25": timing.p25 * 1000,
        "ms p75": timing.p75 * 1000,
        "saved MiB": _saved(candidate, inputs) / 2**20,
        "peak MiB": None if peak is None else peak / 2**20,
    }


def _schedules(
    study: Study, data: Prepared, inputs: Inputs, full: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Measure E1 of every schedule of the sweep, as shares of the backbone (Figure 5)."""
    width, hidden = study.profile.network.width, study.profile.network.hidden
    layers, length = study.profile.network.layers, data.settings.length
    everything = encoder_costs((length,) * layers, length, width, hidden).encoder
    rows = []
    for schedule, candidate in schedule_candidates(study, data):
        found, left = _as_published(study, candidate, inputs), savings(schedule, length)
        rows.append(
            {
                "schedule": "-".join(map(str, schedule)),
                "sparsity": left.sparsity,
                "time": found["ms"] / full["ms"],
                "memory": found["saved MiB"] / full["saved MiB"],
                "tokens": left.tokens,
                "flops": encoder_costs(schedule, length, width, hidden).encoder / everything,
            }
        )
    return rows


def _saved(candidate: Candidate, inputs: Inputs) -> int:
    """Return the bytes that the forward pass of E1 keeps for a backward pass."""
    with sdpa_kernel(SDPBackend.MATH):
        return saved_bytes(lambda: candidate.encode(inputs.items, inputs.times), candidate.encoder)


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Switch TF32 off, as the authors' version of PyTorch had it for matrix products."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def _inference(study: Study, candidate: Candidate, inputs: Inputs) -> dict[str, Any]:
    """E2."""
    timing = _time_encoder(study, candidate, inputs, scoring=True)
    encoder = _time_encoder(study, candidate, inputs)
    with _inference_mode(study):
        peak = peak_bytes(lambda: candidate.encode(inputs.items, inputs.times), study.device)
    return {
        "encoder": candidate.name,
        "ms": timing.median * 1000,
        "ms p25": timing.p25 * 1000,
        "ms p75": timing.p75 * 1000,
        "ms encoder alone": encoder.median * 1000,
        "histories/s": len(inputs.items) / timing.median,
        "peak MiB": None if peak is None else peak / 2**20,
        "MFLOP": candidate.encoder.flops(candidate.length) / 1e6
        if candidate.name != FULL
        else None,
    }


def _time_encoder(
    study: Study, candidate: Candidate, inputs: Inputs, scoring: bool = False
) -> Timing:
    matrix = candidate.encoder.item_matrix()

    def call() -> Tensor:
        vectors = candidate.encode(inputs.items, inputs.times)
        return (vectors @ matrix.T).topk(TOP).indices if scoring else vectors

    with _inference_mode(study):
        return time_calls(call, study.profile.efficiency.repeats, study.device)


@contextmanager
def _inference_mode(study: Study) -> Iterator[None]:
    dtype = pick_dtype(study.profile.efficiency.inference_dtype)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if dtype != torch.float32:
            stack.enter_context(torch.autocast(study.device.type, dtype))
        yield


def _serving(study: Study, candidate: Candidate, inputs: Inputs) -> list[dict[str, Any]]:
    """E3."""
    settings = study.profile.efficiency
    encode = candidate.encode
    if settings.compile:
        torch.compiler.reset()  # past a number of kept graphs, code would stay eager
        encode = torch.compile(encode, mode="reduce-overhead")
    rows = []
    for batch in settings.serving_batches:
        items, times = inputs.items[:batch], inputs.times[:batch]
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


def _training(study: Study, candidate: Candidate, inputs: Inputs, data: Prepared) -> dict[str, Any]:
    """E4, one target a history."""
    targets = inputs.items[:, -1]
    return _training_row(
        study, data, candidate.name, candidate.encoder, len(inputs.items),
        lambda: candidate.encode(inputs.items, inputs.times), targets,
    )  # fmt: skip


def _causal_training(study: Study, data: Prepared, inputs: Inputs) -> dict[str, Any]:
    """E4, a target at every position."""
    torch.manual_seed(0)
    encoder = study.new_causal(data, study.profile.causal.layers[0])
    return _training_row(
        study, data, "causal SASRec", encoder, inputs.items.numel(),
        lambda: encoder(inputs.items, padded=False), inputs.items,
    )  # fmt: skip


def _training_row(
    study: Study,
    data: Prepared,
    name: str,
    encoder: Backbone,
    targets: int,
    encode: Callable[[], Tensor],
    target_items: Tensor,
) -> dict[str, Any]:
    """Time a whole step: forward, loss, backward, Adam."""
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
            value = loss(encode(), encoder.item_matrix(), target_items)
        value.backward()
        optimizer.step()

    timing = time_calls(step, max(3, profile.efficiency.repeats // 4), study.device)
    encoder.eval()
    return {
        "encoder": name,
        "targets a step": targets,
        "ms a step": timing.median * 1000,
        "targets/s": targets / timing.median,
    }


def _log(result: StepResult) -> None:
    """Log what the claims compare."""
    published = {str(row["encoder"]): row for row in result.frames["published"].to_dicts()}
    inference = {str(row["encoder"]): row for row in result.frames["inference"].to_dicts()}
    training = {str(row["encoder"]): row for row in result.frames["training"].to_dicts()}

    def saved(name: str, column: str) -> float:
        return 100 * (1 - float(published[name][column]) / float(published[FULL][column]))

    result.log("inference_time_saved_pct", saved("STRec", "ms"), unit="%")
    result.log("activation_memory_saved_pct", saved("STRec", "saved MiB"), unit="%")
    result.log("random_sample_time_saved_pct", saved("STRec, random", "ms"), unit="%")
    alone = "ms encoder alone"
    result.log("encoder_time_ratio", inference["STRec"][alone] / inference[LAST][alone])
    if "informer, distilling" in inference:
        informer = inference["informer, distilling"][alone]
        result.log("informer_time_ratio", informer / inference["STRec"][alone])
        result.log(
            "informer_memory_ratio",
            published["informer, distilling"]["saved MiB"] / published["STRec"]["saved MiB"],
        )
    ratio = training["causal SASRec"]["targets/s"] / training["STRec"]["targets/s"]
    result.log("causal_targets_per_second_ratio", ratio)
