"""The accelerator of this machine: CUDA, ROCm (which calls itself CUDA), XPU or MPS, through torch.

No other file asks which of them it is, so that all code runs on each. A machine has one kind of
accelerator, which may be several cards. What a kind lacks is stated here.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from okml.errors import ResourceError
from okml.settings import DeviceName

# The variables that say which cards a process sees; the first that is set counts.
VISIBLE = {
    "cuda": ("HIP_VISIBLE_DEVICES",) * bool(torch.version.hip) + ("CUDA_VISIBLE_DEVICES",),
    "xpu": ("ZE_AFFINITY_MASK",),
}
# Environment in which a process can ask for cards and then be forked: CUDA's own question, which a
# library may ask while it is imported, would leave the forks without cards.
FORKED = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
# The tool that shows whether the driver works, by what torch was built for.
TOOLS = {"CUDA": "nvidia-smi", "ROCm": "rocm-smi", "XPU": "xpu-smi"}


class Gpu(BaseModel):
    """One card."""

    model_config = ConfigDict(frozen=True)

    name: str
    memory_gib: float


# ---------------------------------------------------------------------- which device


def accelerator() -> torch.device | None:
    """Return the kind of accelerator that torch finds, without an index; None if there is none."""
    return torch.accelerator.current_accelerator(check_available=True)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``; ``auto`` is the accelerator if there is one, else the CPU.

    It has no index: it is the current card, which of the processes of a launcher is each one's own.

    Raises:
        ResourceError: If torch does not find the device.
    """
    here = accelerator()
    device = (here or torch.device("cpu")) if name == "auto" else torch.device(name)
    if device.type != "cpu" and (here is None or here.type != device.type):
        found = f"an accelerator of the kind {here.type!r}" if here else "no accelerator"
        raise ResourceError(
            f"This run asks for the device {name!r}, and torch finds {found}.",
            f"{advice()} Run `okml doctor`, or pass `--device cpu`.",
        )
    if device.type != "cpu" and "LOCAL_RANK" in os.environ:
        # Before anything is built: what has no index would else come to lie on the first card.
        cards = torch.accelerator.device_count()
        torch.accelerator.set_device_index(int(os.environ["LOCAL_RANK"]) % cards)
    return device


def cards_of(device: torch.device) -> list[torch.device]:
    """Return all cards of the kind of a device, with their indices; a CPU is one."""
    if device.type == "cpu":
        return [device]
    return [torch.device(device.type, n) for n in range(torch.accelerator.device_count())]


def take_card(card: torch.device) -> None:
    """Let this process, which has not used an accelerator so far, have one card.

    It sees no other, where the driver can hide them: a library that looks at all cards would take
    memory on each.

    Args:
        card: The card with its index; without one, as for a CPU, nothing is done.
    """
    if str(card) == card.type:
        return
    if card.type not in VISIBLE:
        torch.accelerator.set_device_index(card.index)
        return
    variables = VISIBLE[card.type]
    name = next((name for name in variables if os.environ.get(name)), variables[-1])
    seen = os.environ.get(name)
    os.environ[name] = seen.split(",")[card.index] if seen else str(card.index)


def require_accelerator() -> None:
    """Refuse to go on without an accelerator.

    Raises:
        ResourceError: If torch finds none.
    """
    if accelerator() is None:
        raise ResourceError(
            "This profile is meant for a GPU, and torch finds no accelerator.",
            f"{advice()} Run `okml doctor`; `--device cpu` runs it on the CPU all the same.",
        )


def advice() -> str:
    """Return a sentence on what to do on a machine whose accelerator torch does not find."""
    versions = {"CUDA": torch.version.cuda, "ROCm": torch.version.hip, "XPU": torch.version.xpu}
    for kind, version in versions.items():
        if version is not None:
            return (
                f"torch {torch.__version__} is built for {kind} {version}: `{TOOLS[kind]}` shows "
                "whether the driver serves that."
            )
    return f"torch {torch.__version__} is built without CUDA, ROCm or XPU: install one that has it."


def setting_for(device: torch.device) -> DeviceName:
    """Return the setting that trains on the device of a run."""
    return "cpu" if device.type == "cpu" else "auto"


def gpus() -> tuple[Gpu, ...]:
    """Return the cards of this machine."""
    here = accelerator()
    if here is None:
        return ()
    if here.type == "mps":  # it shares the memory of the machine
        memory = torch.mps.recommended_max_memory()
        return (Gpu(name=f"{platform.processor()} MPS", memory_gib=memory / 2**30),)
    module = torch.get_device_module(here)
    found = map(module.get_device_properties, range(module.device_count()))
    return tuple(Gpu(name=card.name, memory_gib=card.total_memory / 2**30) for card in found)


# ---------------------------------------------------------------------- what a device can do


def has_float64(device: torch.device) -> bool:
    """Tell whether a device computes in float64: MPS and some XPUs do not."""
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    return device.type != "mps"


def require_float64(device: torch.device, what: str) -> None:
    """Refuse a device without float64.

    Args:
        device: The device on which it would run.
        what: What needs it, as the subject of a sentence in the plural.

    Raises:
        ResourceError: If the device has no float64.
    """
    if not has_float64(device):
        raise ResourceError(
            f"{what} need float64, which the device {device.type!r} lacks.",
            "Pass `--device cpu`.",
        )


def has_pinned_memory(device: torch.device) -> bool:
    """Tell whether copies between a device and pinned memory can run beside its computations."""
    return device.type not in ("cpu", "mps")


def has_flex_attention(device: torch.device) -> bool:
    """Tell whether FlexAttention has compiled kernels for a device, with gradients."""
    return device.type in ("cuda", "xpu")


def has_quantized_weights(device: torch.device) -> bool:
    """Tell whether bitsandbytes has kernels for a device."""
    return device.type in ("cuda", "xpu")


def fast_multiple(device: torch.device) -> int:
    """Return what the sizes of large matrices should be multiples of, for a device's fast kernels.

    Matrix units read 16 bytes of a row at once, eight numbers of bfloat16; a row of another size
    begins between two such reads. A CPU does not mind.
    """
    return 1 if device.type == "cpu" else 8


@contextmanager
def tensor_float32() -> Iterator[None]:
    """Let an accelerator multiply matrices of float32 with 10 bits of mantissa, inside the context.

    Sums and results stay in float32, so errors do not pile up over layers as they do in bfloat16.
    Convolutions do so by torch's default. A CPU computes as before.
    """
    before = torch.get_float32_matmul_precision()
    if accelerator() is not None:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor, any shape, on a device; from the CPU by pinned memory, without a wait."""
    through = tensor.device.type == "cpu" and has_pinned_memory(device)
    source = tensor.pin_memory() if through else tensor
    return source.to(device, non_blocking=through)


# ---------------------------------------------------------------------- waiting and time


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all its work; a CPU has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def seconds_of(
    call: Callable[[], object],
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the seconds of a call: by events of an accelerator, and by ``clock`` on a CPU."""
    if device.type == "cpu":
        started = clock()
        call()
        return clock() - started
    begin, end = (torch.Event(device.type, enable_timing=True) for _ in range(2))
    synchronize(device)
    begin.record()
    call()
    end.record()
    synchronize(device)
    return begin.elapsed_time(end) / 1000


# ---------------------------------------------------------------------- memory


def allocated_bytes(device: torch.device) -> int | None:
    """Return the bytes of all tensors on a device; None for a CPU."""
    match device.type:
        case "cpu":
            return None
        case "mps":
            return torch.mps.current_allocated_memory()
    return torch.accelerator.memory_allocated(device)


def peak_bytes(device: torch.device) -> int | None:
    """Return the largest :func:`allocated_bytes` so far; None where none is kept: CPU, MPS."""
    return torch.accelerator.max_memory_allocated(device) if _keeps_peaks(device) else None


def peak_reserved_bytes(device: torch.device) -> int | None:
    """Return the most bytes that torch held for tensors so far; None where none is kept.

    It is what the driver's own tool shows, without the context.
    """
    return torch.accelerator.max_memory_reserved(device) if _keeps_peaks(device) else None


def reset_peak(device: torch.device) -> None:
    """Start the peaks of a device anew."""
    if _keeps_peaks(device):
        torch.accelerator.reset_peak_memory_stats(device)


def _keeps_peaks(device: torch.device) -> bool:
    return device.type not in ("cpu", "mps")


def release_memory() -> None:
    """Give the memory that torch caches on the accelerator back to the driver."""
    if accelerator() is not None:
        torch.accelerator.empty_cache()


# ---------------------------------------------------------------------- random numbers


def random_states() -> dict[str, Any]:
    """Return the kind of accelerator and the state of each card's global generator."""
    here = accelerator()
    if here is None:
        return {"type": "cpu", "states": []}
    module = torch.get_device_module(here)
    states = [module.get_rng_state(index) for index in range(module.device_count())]
    return {"type": here.type, "states": states}


def restore_random_states(state: Mapping[str, Any]) -> None:
    """Set the generators of the cards that are here, if they are of the same kind.

    Args:
        state: What :func:`random_states` returned, as ``accelerator``; older checkpoints have the
            state of one card, or None, as ``cuda``.
    """
    if "accelerator" in state:
        saved = state["accelerator"]
    else:
        saved = {"type": "cuda", "states": [s for s in [state["cuda"]] if s is not None]}
    here = accelerator()
    if here is None or here.type != saved["type"]:
        return
    module = torch.get_device_module(here)
    for index, state in enumerate(saved["states"][: module.device_count()]):
        module.set_rng_state(state, index)


@contextmanager
def forked_rng() -> Iterator[None]:
    """Restore torch's global generators afterwards: of the CPU and of each card."""
    cards = torch.accelerator.device_count()
    with torch.random.fork_rng(devices=range(cards)):
        yield
