"""A table with rows sharded over GPUs, each of which stores and trains a slice of them.

Row-wise sharding is torch's own ``RowwiseParallel`` of ``nn.Embedding``: the ids of all processes
are gathered, each process looks up those among its rows, and the parts are added up and handed
back to the process that asked. A process holds the weights and optimizer states of its rows only.

Prefer this table while it fits: it needs nothing but torch, works with any optimizer, and allows
several look-ups before a step. Its cost: each process allocates the whole table before it keeps a
slice, and each backward pass allocates a dense gradient of the whole table. For the 32 million rows
of KuaiRand-27K that is 16.4 GB and fits. Where it does not,
:mod:`okml.video_workshop.items.torchrec_table` holds the same rows in kernels that fuse look-up,
gradient and row-wise Adagrad, and never allocates the whole table.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Shard
from torch.distributed.tensor.parallel import RowwiseParallel, parallelize_module

from okml.errors import ParameterError
from okml.video_workshop.common.table import ItemTable


class ShardedIdTable(ItemTable):
    """A row of its own for each item, the rows spread over the processes of a mesh.

    All processes look up together, each for its own part of the batch and all for as many ids.
    The gradient of a row is the sum over the parts, so that of a mean over the batch is divided by
    the number of processes before, as data-parallel training does.

    Args:
        items: Number of items.
        width: Dimension d of a vector.
        mesh: Device mesh of one dimension.
        std: Standard deviation of the normal initialization. The first process draws all rows, so
            the values are the same as on one process.

    Raises:
        ParameterError: If the mesh has several dimensions.
    """

    def __init__(self, items: int, width: int, mesh: DeviceMesh, std: float = 0.02) -> None:
        super().__init__(items, width)
        if mesh.ndim != 1:
            raise ParameterError(f"Rows are spread over 1 dimension of processes, not {mesh.ndim}.")
        # A padding index would apply to each slice, so the look-up sets padding to zero instead.
        rows = nn.Embedding(items + 1, width)
        nn.init.normal_(rows.weight, std=std)
        with torch.no_grad():
            rows.weight[0].zero_()
        plan = RowwiseParallel(input_layouts=Shard(0), output_layouts=Shard(0))
        self.rows = parallelize_module(rows, mesh, plan)

    def lookup(self, ids: Tensor) -> Tensor:
        """Return the rows ``[b, ..., d]`` of this process's ``ids`` ``[b, ...]``."""
        return self.rows(ids) * (ids != 0)[..., None]  # type: ignore[no-any-return]

    def forward(self) -> Tensor:
        """Return the whole table ``[items + 1, d]`` on every process, for small catalogs."""
        weight = self.rows.weight
        assert isinstance(weight, DTensor)
        # Each process scores its own part of the batch, so the gradients are added up.
        return weight.full_tensor(grad_placements=[Partial()])
