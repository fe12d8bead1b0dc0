"""An item's own row mixed with a shared vector by the number of its training events.

Netflix's foundation model mixes a row and metadata by the age of a title. An ungated sum
explains everything by the row, and is as bad as a hash on new items; so the mix depends on
evidence, and training plays some items new in every batch.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.video_workshop.common.table import IdTable, ItemTable


class EvidenceGate(nn.Module):
    """``a(n) = sigmoid(w log(1 + n) + b)``: near 0 for a new item, near 1 for a well-known one."""

    def __init__(self) -> None:
        super().__init__()
        # One number each, in a vector because FSDP spreads no scalars.
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.bias = nn.Parameter(torch.tensor([-3.0]))

    def forward(self, evidence: Tensor) -> Tensor:
        """Return the share ``[...]`` of the own row for ``evidence`` ``[...]`` events."""
        return torch.sigmoid(self.weight * torch.log1p(evidence) + self.bias)


class HybridTable(ItemTable):
    """``e_i = a(n_i) E[i] + (1 - a(n_i)) s_i`` with a shared part ``s_i``.

    An item without events has no use for its row, which was never trained: it is left out. In
    training each batch plays a share of the items new: they lose their row, their evidence, and
    those rows of the shared part that no other item has.

    Args:
        shared: Table of the shared part ``s_i``: content, or rows of a Semantic ID.
        counts: Events of each item in training, ``[items + 1]``.
        pseudo_cold: Share of the items that a batch treats as new.
        gated: Whether the evidence gate weights the parts; False is the plain sum ``E[i] + s_i``.
        mesh: Processes that the own rows are spread over; None: they are here.

    Raises:
        ParameterError: If the number of counts is not that of the items.
    """

    evidence: Tensor  # float32 [items + 1]
    played: Tensor  # bool [items + 1], the items that this batch plays new

    def __init__(
        self,
        shared: ItemTable,
        counts: NDArray[np.integer],
        pseudo_cold: float = 0.15,
        gated: bool = True,
        mesh: DeviceMesh | None = None,
    ) -> None:
        super().__init__(shared.items, shared.width)
        if len(counts) != self.items + 1 or not 0 <= pseudo_cold < 1:
            raise ParameterError(
                f"{len(counts):,} counts and {pseudo_cold} of the items played new do not fit "
                f"a table of {self.items:,} items."
            )
        self.own = IdTable(self.items, self.width, mesh=mesh)
        self.shared = shared
        self.gate = EvidenceGate() if gated else None
        self.pseudo_cold = pseudo_cold
        self.register_buffer("evidence", torch.from_numpy(counts.astype(np.float32)))
        self.register_buffer("played", torch.zeros(self.items + 1, dtype=torch.bool))

    def redraw(self) -> None:
        """Draw the items that the next batch plays new."""
        self.played.copy_(torch.rand_like(self.evidence) < self.pseudo_cold)
        self.shared.redraw()

    def observe(self, items: Ints, times: Ints) -> None:
        """Count the events of a finished period as evidence."""
        counts = np.bincount(items, minlength=self.items + 1).astype(np.float32)
        self.evidence += torch.from_numpy(counts).to(self.evidence.device)

    def lookup(self, ids: Tensor) -> Tensor:
        """Return the mixed vectors ``[..., d]`` of the items ``ids`` ``[...]``."""
        new = self.played[ids] & self.training
        evidence = self.evidence[ids] * ~new
        own = self.own.lookup_as_new(ids, evidence == 0)
        shared = self.shared.lookup_as_new(ids, new)
        if self.gate is None:
            return own + shared
        share = self.gate(evidence)[..., None]
        return share * own + (1 - share) * shared  # type: ignore[no-any-return]
