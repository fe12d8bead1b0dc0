"""Time and memory of function calls, on a CPU or a GPU."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from okml.accelerator import (
    allocated_bytes,
    peak_bytes,
    release_memory,
    reset_peak,
    seconds_of,
    synchronize,
)

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
E = TypeVar("E")

# Options of the C library's `mallopt`, and their values at its start.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, AT_START = -1, -3, 128 * 1024
MOST_MMAP_THRESHOLD = 32 * 2**20  # the largest that it takes


def time_turns(
    calls: Mapping[K, Callable[[], object]],
    rounds: int,
    device: torch.device,
    clock: Callable[[], float] = time.process_time,
) -> dict[K, NDArray[np.float64]]:
    """Time calls in turns, so that disturbances of the machine affect all of them.

    Every round makes each call once, every other round in reverse order. Memory that a call frees
    is reused by the next ones. A call that runs out of the device's memory is dropped from the next
    turns.

    Args:
        calls: The functions to call, by name.
        rounds: The number of timed rounds, after a quarter as many warm-up rounds.
        device: The device of the calls.
        clock: The clock on a CPU. Processor time excludes other processes, but counts the threads
            that wait for work: it is for calls that occupy them all.

    Returns:
        The seconds of each call, ``[rounds]``, by name; NaN from the round on in which it ran out
        of memory.
    """
    seconds = {name: np.full(rounds, np.nan) for name in calls}
    waiting, warm = dict(calls), -(-rounds // 4)
    with freed_memory_kept():
        for turn in range(-warm, rounds):
            for name in list(waiting) if turn % 2 else list(reversed(waiting)):
                spent = within_memory(partial(seconds_of, waiting[name], device, clock), None)
                if spent is None:
                    del waiting[name]
                elif turn >= 0:
                    seconds[name][turn] = spent
    return seconds


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library keep freed memory for reuse, as the allocator of a GPU does.

    By default it returns large blocks to the system, which hands out each page anew: a pass with
    large tensors then spends more time in page faults than in its kernels. Without ``mallopt``, as
    on macOS, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda option, value: 0)
    mallopt(M_MMAP_THRESHOLD, MOST_MMAP_THRESHOLD)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        mallopt(M_MMAP_THRESHOLD, AT_START)
        mallopt(M_TRIM_THRESHOLD, AT_START)


def within_memory(call: Callable[[], T], otherwise: E) -> T | E:
    """Return the result of a call; ``otherwise`` if it ran out of the device's memory.

    The memory is free again then.
    """
    try:
        return call()
    except torch.OutOfMemoryError:
        pass  # the traceback holds the call's tensors until the handler ends
    release_memory()
    return otherwise


def percentiles(seconds: NDArray[np.float64], wanted: Sequence[int]) -> NDArray[np.float64]:
    """Return percentiles of the finished rounds, ``[q]``; NaN if there are none."""
    finished = seconds[~np.isnan(seconds)]
    return np.percentile(finished, wanted) if len(finished) else np.full(len(wanted), np.nan)


def saved_bytes(
    forward: Callable[[], Tensor], module: nn.Module, *, shapes_only: bool = False
) -> int:
    """Return the bytes that a forward pass saves for the backward pass.

    They are counted from the tensors that autograd saves, each storage once, without the module's
    own parameters and buffers, and so do not depend on the device.

    Args:
        forward: The forward pass to measure.
        module: The module that computes it.
        shapes_only: Whether the pass computes no numbers, only shapes (fake tensors), of a module
            on the CPU. It takes no memory, whatever the count is, and about a second instead.
    """
    shapes = FakeTensorMode(allow_non_fake_inputs=True)

    def place(tensor: Tensor) -> int:
        """Return what names the storage of a tensor while it lives."""
        storage = tensor.untyped_storage()
        return storage._cdata if shapes_only else storage.data_ptr()

    own = [*module.parameters(), *module.buffers()]
    if shapes_only:
        own += [shapes.from_tensor(tensor) for tensor in own]  # what views of weights are views of
    known = set(map(place, own))
    held: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if place(tensor) not in known:
            held[place(tensor)] = tensor
        return tensor

    with (
        shapes if shapes_only else nullcontext(),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved),
    ):
        forward()
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


def peak_of(call: Callable[[], object], device: torch.device) -> int | None:
    """Return the most bytes that a call holds on a device; None where torch does not count them."""
    synchronize(device)
    reset_peak(device)
    before = allocated_bytes(device)
    call()
    synchronize(device)
    peak = peak_bytes(device)
    return None if before is None or peak is None else peak - before
