"""Modules that FSDP shards over processes: their shards, and full weights and optimizer states.

The functions after :func:`shards` are collective: all processes call them. The ``full_`` functions
return the full state on process 0 and an empty one on the others; the ``load_`` functions need it
on all processes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from okml.training.settings import Precision

WHOLE_ON_FIRST = StateDictOptions(full_state_dict=True, cpu_offload=True)
WHOLE = StateDictOptions(full_state_dict=True)


def is_sharded(module: nn.Module) -> bool:
    """Tell whether ``fully_shard`` has sharded a module's weights."""
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


def shard(
    module: nn.Module,
    blocks: Iterable[nn.Module],
    mixed_precision: Precision = "no",
    mesh: DeviceMesh | None = None,
) -> nn.Module:
    """Spread a module over processes with FSDP, block by block; return it.

    A block is gathered for its own passes alone, so a process holds little more than its share.
    Weights that are DTensors already, such as rows of tables, stay as they were spread.

    With ``bf16`` weights travel in half the bytes, and gradients are summed in float32. Weights are
    rounded as autocast rounds them at each use; inputs are left to autocast, since a time step or a
    coordinate of a thousand does not survive bfloat16.

    Args:
        module: The module to spread.
        blocks: Parts of it, inner ones first: the outer ones leave out what has been taken.
        mixed_precision: The precision of the training.
        mesh: The mesh of processes; None for all of them.
    """
    policy = MixedPrecisionPolicy()
    if mixed_precision == "bf16":
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    spread: set[nn.Parameter] = set()
    spread.update(weight for weight in module.parameters() if isinstance(weight, DTensor))
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy, ignored_params=spread)
    # A root stays gathered after its forward pass by default. A phase that trains others may end
    # there, and what the loop then unfreezes would be shards that the next phase does not look at.
    root = fully_shard(
        module, mesh=mesh, mp_policy=policy, reshard_after_forward=True, ignored_params=spread
    )
    # FSDP looks once which weights are trained, at the first forward pass. A phase that has frozen
    # them by then would leave gradients in bfloat16 (torch 2.13), so it looks now.
    root._get_fsdp_state()._lazy_init()
    return module


def shards(module: nn.Module) -> list[Tensor]:
    """Return this process's part of each weight of a module, views of any shape.

    Writing to a part changes the weight.
    """
    weights = (parameter.detach() for parameter in module.parameters())
    return [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]


def full_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the full weights of a sharded module by name, on the CPU of the first process."""
    weights = get_model_state_dict(module, options=WHOLE_ON_FIRST)
    return {name: value for name, value in weights.items() if isinstance(value, Tensor)}


def load_full_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give each process its shard of ``weights``."""
    set_model_state_dict(module, dict(weights), options=WHOLE)


def full_optimizer_state(module: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Return the full state of the optimizer of ``module``, by parameter name."""
    return dict(get_optimizer_state_dict(module, optimizer, options=WHOLE_ON_FIRST))


def load_full_optimizer_state(
    module: nn.Module, optimizer: Optimizer, state: dict[str, Any]
) -> None:
    """Give each process its shard of the optimizer state."""
    set_optimizer_state_dict(module, optimizer, state, options=WHOLE)
