"""Time and memory of function calls, on a CPU or a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.accelerator import (
    allocated_bytes,
    peak_bytes,
    release_memory,
    reset_peak,
    seconds_of,
    synchronize,
)


@dataclass(frozen=True)
class Timing:
    """Percentiles of the seconds of single calls."""

    median: float
    p25: float
    p75: float
    p95: float
    p99: float


def time_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, NDArray[np.float64]]:
    """Time calls in turns, so that disturbances of the machine affect all of them.

    Every round makes each call once, every other round in reverse order. On a CPU the processor
    time of this process counts, which excludes other processes. A call that runs out of the
    device's memory is dropped from the next turns.

    Args:
        calls: The functions to call, by name.
        rounds: The number of timed rounds, after a quarter as many warm-up rounds.
        device: The device of the calls.

    Returns:
        The seconds of each call, ``[rounds]``, by name; NaN if it ran out of memory.
    """
    seconds = {name: np.full(rounds, np.nan) for name in calls}
    waiting, warm = dict(calls), -(-rounds // 4)
    for turn in range(-warm, rounds):
        for name in list(waiting) if turn % 2 else list(reversed(waiting)):
            try:
                spent = seconds_of(waiting[name], device, time.process_time)
            except torch.OutOfMemoryError:
                release_memory()
                seconds[name][:] = np.nan
                del waiting[name]
            else:
                if turn >= 0:
                    seconds[name][turn] = spent
    return seconds


def time_calls(call: Callable[[], object], repeats: int, device: torch.device) -> Timing:
    """Return the wall times of ``repeats`` single calls, after a quarter as many warm-up calls.

    They are latencies, which include waiting for other processes.
    """
    for _ in range(-(-repeats // 4)):
        call()
    seconds = [seconds_of(call, device) for _ in range(repeats)]
    return percentiles(np.array(seconds))


def percentiles(seconds: NDArray[np.float64]) -> Timing:
    """Return the percentiles of single calls."""
    return Timing(*(float(np.percentile(seconds, q)) for q in (50, 25, 75, 95, 99)))


def saved_bytes(forward: Callable[[], Tensor], module: nn.Module) -> int:
    """Return the bytes that a forward pass saves for the backward pass.

    They are counted from the tensors that autograd saves, each storage once, without the module's
    own parameters and buffers, and so do not depend on the device.
    """
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    held: dict[int, int] = {}
    kept = []  # references that prevent the reuse of a storage's address during the count

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        forward()
    return sum(held.values())


def peak_of(call: Callable[[], object], device: torch.device) -> int | None:
    """Return the most bytes that a call holds on a device; None where torch does not count them."""
    synchronize(device)
    reset_peak(device)
    before = allocated_bytes(device)
    call()
    synchronize(device)
    peak = peak_bytes(device)
    return None if before is None or peak is None else peak - before
