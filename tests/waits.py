"""Counts the operations for whose result the host would wait, were the tensors on a GPU."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# A number for Python, and results whose size depends on values.
WAITING = {
    "aten::_local_scalar_dense",
    "aten::equal",
    "aten::is_nonzero",
    "aten::masked_select",
    "aten::nonzero",
    "aten::repeat_interleave",
    "aten::unique_dim",
    "aten::_unique2",
}


class Waits(TorchDispatchMode):
    """Lists the names of such operations inside the context.

    ``tolist`` of a tensor of the CPU is no operation, so it is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, given: Sequence[Any] = (), named: Any = None
    ) -> Any:
        name = function._schema.name
        by_mask = name in ("aten::index", "aten::index_put_") and any(
            place is not None and place.dtype == torch.bool for place in given[1]
        )
        if (name in WAITING or by_mask) and not _on_the_cpu_anyway():
            self.seen.append(name)
        return function(*given, **(named or {}))


def _on_the_cpu_anyway() -> bool:
    """Tell whether a data loader calls, for the seed of its workers, or an optimizer, for its step.

    Both are tensors of the CPU on every machine.
    """
    within = ("torch/utils/data", "torch/optim")
    return any(place in call.filename for call in traceback.extract_stack() for place in within)
