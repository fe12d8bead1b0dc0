"""A student: the teacher's architecture with the teacher's weights, or with random ones."""

from __future__ import annotations

import copy

from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from okml.add.denoiser import Denoiser
from okml.add.settings import StudentInit
from okml.errors import ParameterError
from okml.training.settings import Precision
from okml.training.sharded import shard

# What holds nearly all weights of a diffusers UNet.
SHARDED_BLOCKS = frozenset({"BasicTransformerBlock", "ResnetBlock2D", "Attention"})


def make_student(
    teacher: Denoiser,
    init: StudentInit = "pretrained",
    *,
    gradient_checkpointing: bool = False,
    copied: bool = True,
) -> Denoiser:
    """Return a trainable student in float32.

    Args:
        teacher: The network whose architecture and, with ``pretrained``, weights it takes.
        init: The start; ``random`` draws the weights anew (Table 1c), so seed before the call.
        gradient_checkpointing: Whether activations are recomputed in the backward pass.
        copied: Whether the student is a copy. If not, the given network itself becomes it, for one
            that is too large to be held twice and that nothing else uses.

    Raises:
        ParameterError: If the network cannot be built again, or has no checkpointing.
    """
    network = teacher.network
    if init == "random":
        network = _rebuilt(network)
    elif copied:
        network = copy.deepcopy(network)
    student = Denoiser(network.float().requires_grad_(True).train())
    if gradient_checkpointing:
        enable_checkpointing(student.network)
    return student


def enable_checkpointing(network: nn.Module) -> None:
    """Let a diffusers network recompute its activations in the backward pass."""
    enable = getattr(network, "enable_gradient_checkpointing", None)
    if enable is None:
        raise ParameterError(f"{type(network).__name__} has no gradient checkpointing.")
    enable()


def _rebuilt(network: nn.Module) -> nn.Module:
    build = getattr(type(network), "from_config", None)
    if build is None:
        raise ParameterError(
            f"{type(network).__name__} cannot be built again with random weights.",
            "Only diffusers networks can (they have from_config).",
        )
    built: nn.Module = build(network.config)
    return built


def shard_student(
    student: nn.Module, mixed_precision: Precision = "no", mesh: DeviceMesh | None = None
) -> nn.Module:
    """Spread a student over processes with FSDP, block by block; return it.

    Teacher, decoder and feature network need no gradient and stay whole, as do the heads: they are
    small, and R1 differentiates twice.

    Args:
        student: A denoiser over a diffusers network.
        mixed_precision: The precision of the training, in which weights travel.
        mesh: The mesh of processes; None for all of them.
    """
    inner_first = reversed(list(student.modules()))
    blocks = [module for module in inner_first if type(module).__name__ in SHARDED_BLOCKS]
    return shard(student, blocks, mixed_precision, mesh)
