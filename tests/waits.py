"""Counts the operations for whose result the host would wait, were the tensors on a GPU."""

from __future__ import annotations

import re
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

# What torch wraps around the method that sees an operation.
WRAPPED = re.compile("torch/_compile|torch/_dynamo")


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
    """Tell whether a data loader draws the seed of its workers, or an optimizer reads its step.

    Both are tensors of the CPU on every machine. The line itself must stand there: a loader calls
    whatever builds a batch, too, and what that waits for counts.
    """
    calls = reversed(traceback.extract_stack()[:-2])  # without this module's own two
    caller = next(call.filename for call in calls if not WRAPPED.search(call.filename))
    return any(place in caller for place in ("torch/utils/data", "torch/optim"))
