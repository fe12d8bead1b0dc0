"""Time and memory of one piece of work, on a CPU or a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Timing:
    """Seconds of single calls: percentiles."""

    median: float
    p25: float
    p75: float
    p95: float
    p99: float


def time_calls(call: Callable[[], object], repeats: int, device: torch.device) -> Timing:
    """Time ``repeats`` calls one by one, after a quarter as many that are not timed."""
    for _ in range(-(-repeats // 4)):
        call()
    seconds = [_one_call(call, device) for _ in range(repeats)]
    return Timing(*(float(np.percentile(seconds, q)) for q in (50, 25, 75, 95, 99)))


def _one_call(call: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        started = time.perf_counter()
        call()
        return time.perf_counter() - started
    begin, end = (_event() for _ in range(2))
    torch.cuda.synchronize(device)
    begin.record()
    call()
    end.record()
    torch.cuda.synchronize(device)
    return float(begin.elapsed_time(end)) / 1000


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def saved_bytes(forward: Callable[[], Tensor], module: nn.Module) -> int:
    """Return the memory that a forward pass holds for the backward pass, in bytes.

    Counted from the tensors that autograd saves, each storage once, the module's own parameters
    and buffers left out. The same on every device.
    """
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    held: dict[int, int] = {}
    kept = []  # so that no storage is freed and its address used again while we count

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        forward()
    return sum(held.values())


def peak_bytes(call: Callable[[], object], device: torch.device) -> int | None:
    """Return the most memory of a CUDA device that a call takes beyond what was held before.

    On a CPU there is no such count: None.
    """
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
