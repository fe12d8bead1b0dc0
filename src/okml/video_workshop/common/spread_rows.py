"""Item rows spread over processes: each stores, looks up and trains a slice of them.

A process asks the owners of its ids for their rows, and its backward pass sends them the gradients
of those rows: an all-to-all exchange in each direction. No process holds the whole table, nor any
gradient or moment of the rows of others. The slices are those of a DTensor with ``Shard(0)``, so
that :mod:`okml.training.sharded` saves and loads them, and any optimizer steps them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed._functional_collectives import (
    all_to_all_single,
    all_to_all_single_autograd,
    wait_tensor,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torch.nn import functional


def drawn_rows(rows: int, width: int, std: float, mesh: DeviceMesh) -> nn.Parameter:
    """Return rows of normal numbers, of which each process draws and holds its slice.

    Args:
        rows: Number of rows of the table; the first, the padding, is zero.
        width: Dimension d of a row.
        std: Standard deviation. The numbers depend on torch's seed and on the process.
        mesh: Device mesh of one dimension.
    """
    height, rank = _height(rows, mesh), mesh.get_local_rank()
    mine = max(0, min(rows - rank * height, height))
    own = torch.Generator(mesh.device_type).manual_seed(torch.initial_seed() + rank)
    local = torch.empty(mine, width, device=mesh.device_type).normal_(std=std, generator=own)
    if rank == 0:
        local[0] = 0
    whole = DTensor.from_local(
        local, mesh, [Shard(0)], run_check=False, shape=torch.Size((rows, width)),
        stride=(width, 1),
    )  # fmt: skip
    return nn.Parameter(whole)


def look_up(rows: DTensor, ids: Tensor) -> Tensor:
    """Return the rows ``[..., d]`` of this process's ``ids`` ``[...]``, which may be none.

    All processes call it together. The padding, id 0, is zero and not asked for. The gradient of a
    row is the mean over the processes, as data-parallel training has it: each takes the mean over
    its part of the batch.

    Args:
        rows: Rows of :func:`drawn_rows`, ``[r, d]``.
        ids: Numbers of the wanted rows; one look-up of many costs less than many of few.
    """
    mesh, height = rows.device_mesh, _height(rows.shape[0], rows.device_mesh)
    there = ids.flatten().nonzero()[:, 0]
    flat = ids.flatten()[there]  # [n]
    owner = flat // height
    order = owner.argsort(stable=True)
    asked = torch.bincount(owner, minlength=mesh.size())  # rows that this process asks of each
    told = all_to_all_single(asked, None, None, mesh)  # rows that each process asks of this one
    to_ask, to_tell = torch.stack([asked, told]).tolist()
    wanted = all_to_all_single(flat[order], to_tell, to_ask, mesh)
    found = functional.embedding(wanted - mesh.get_local_rank() * height, rows.to_local())
    answer = all_to_all_single_autograd(found, to_ask, to_tell, mesh)
    vectors: Tensor = wait_tensor(answer)  # type: ignore[no-untyped-call]
    if vectors.requires_grad:
        vectors.register_hook(lambda gradient: gradient / mesh.size())  # type: ignore[no-untyped-call]
    all_vectors = vectors.new_zeros(ids.numel(), rows.shape[1])
    return all_vectors.index_copy(0, there[order], vectors).view(*ids.shape, rows.shape[1])


def _height(rows: int, mesh: DeviceMesh) -> int:
    """Return the rows of a slice; the last slices may have fewer, as those of a DTensor."""
    return -(-rows // mesh.size())
