"""Full weights and optimizer states of modules that FSDP shards over processes.

Each function is collective: all processes call it. The ``full_`` functions return the full state
on process 0 and an empty one on the others; the ``load_`` functions need it on all processes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

WHOLE_ON_FIRST = StateDictOptions(full_state_dict=True, cpu_offload=True)
WHOLE = StateDictOptions(full_state_dict=True)


def is_sharded(module: nn.Module) -> bool:
    """Tell whether ``fully_shard`` has sharded a module's weights."""
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


def full_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the full weights of a sharded module, on the CPU."""
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
