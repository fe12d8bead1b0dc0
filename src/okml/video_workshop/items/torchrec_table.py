"""A table with rows sharded over GPUs, looked up and trained by the kernels of TorchRec.

Each process asks the owners of its ids for their rows and sends them the gradients of those rows.
The owner's backward pass adds a row's gradients up and steps the row at once, by row-wise Adagrad:
no gradient of the table exists, and the optimizer stores one number per row. Each process draws the
initial values of its slice, so that no process holds the whole table.

TorchRec's kernels are those of fbgemm, of which each release loads with one release of torch: 1.8,
which the extra ``torchrec`` takes, with 2.13. It also takes torchmetrics 1.0.3, so it has an
environment apart from the extras ``test`` and ``add``. The extra is for CUDA, as fbgemm-gpu loads
with no other build of torch::

    pip install 'okml[torchrec]' 'torch==2.13.*'

On a CPU, where the tests run, beside torch 2.13::

    pip install --no-deps 'torchrec==1.8.*' 'fbgemm-gpu-cpu==1.8.*'
    pip install pyre-extensions tensordict

TorchRec's managed-collision modules, which give rows to ids that come and take them from ids that
do not return, do not train on a CPU, so they are not offered here untested: fbgemm 1.8 has no
``reset_weight_momentum`` there, with which a row changes hands, and its ``zero_collision_hash``
only reads. On one device :mod:`okml.video_workshop.stream.new_rows` gives and takes rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from okml.errors import ParameterError, ResourceError
from okml.video_workshop.common.table import ItemTable

ROWS, ITEM = "rows", "item"  # TorchRec's names of the table and of its feature


class TorchRecTable(ItemTable):
    """A row of its own for each item, the rows spread over the processes of a mesh.

    All processes look up together, each as many ids as it likes, also none. The rows are trained
    by the backward pass of the look-up, and no other optimizer sees them. Two differences to
    :class:`~okml.video_workshop.items.sharding.ShardedIdTable` follow from TorchRec:

    - The gradient of a row is the mean over the processes, as data-parallel training has it, so
      that each takes the mean over its part of the batch.
    - A look-up is a step. Ids that share a step, such as those of input and output, are looked up
      in one call.

    Args:
        items: Number of items.
        width: Dimension d of a vector, a multiple of 4.
        mesh: Device mesh of one dimension.
        std: Standard deviation of the normal initialization, which depends on torch's seed and on
            the process.
        rate: Learning rate of row-wise Adagrad.
        eps: Constant added to the root of a row's sum of mean squared gradients.

    Raises:
        ParameterError: If the mesh has several dimensions, or the width is no multiple of 4.
        ResourceError: If TorchRec is not installed, or does not load with this torch.
    """

    def __init__(
        self,
        items: int,
        width: int,
        mesh: DeviceMesh,
        *,
        std: float = 0.02,
        rate: float,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(items, width)
        if mesh.ndim != 1:
            raise ParameterError(f"Rows are spread over 1 dimension of processes, not {mesh.ndim}.")
        if width % 4:
            raise ParameterError(f"TorchRec's rows have a multiple of 4 numbers, not {width}.")
        self.rows = _spread(items + 1, width, mesh, rate, eps)
        rank, rows = mesh.get_local_rank(), self.local_rows
        own = torch.Generator(rows.device).manual_seed(torch.initial_seed() + rank)
        rows.normal_(std=std, generator=own)
        if rank == 0:
            rows[0] = 0

    @property
    def local_rows(self) -> Tensor:
        """The rows of this process, ``[rows, d]``; the slices follow each other by rank."""
        return self.rows.embeddings[ROWS].weight.data  # type: ignore[no-any-return]

    @property
    def optimizer(self) -> Any:
        """Row-wise Adagrad with its state and rate, which its ``step`` passes to the kernels."""
        return self.rows.fused_optimizer

    def lookup(self, ids: Tensor) -> Tensor:
        """Return the rows ``[b, ..., d]`` of this process's ``ids`` ``[b, ...]``."""
        from torchrec import KeyedJaggedTensor

        # One bag of all ids: processes may differ in the lengths of bags, not in their number.
        length = torch.tensor([ids.numel()], device=ids.device)
        bag = KeyedJaggedTensor.from_lengths_sync([ITEM], ids.flatten(), length)
        vectors = self.rows(bag)[ITEM].values()
        return vectors.view(*ids.shape, self.width) * (ids != 0)[..., None]  # type: ignore[no-any-return]


def _spread(rows: int, width: int, mesh: DeviceMesh, rate: float, eps: float) -> Any:
    """Return a collection of one table, sharded over the processes and not initialized."""
    try:
        from fbgemm_gpu.split_embedding_configs import EmbOptimType
        from torchrec import EmbeddingCollection, EmbeddingConfig
        from torchrec.distributed.embedding import EmbeddingCollectionSharder
        from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
        from torchrec.distributed.types import ShardingEnv
    except (ImportError, OSError, RuntimeError) as error:
        raise ResourceError(
            f"TorchRec is not installed or does not load with torch {torch.__version__}: {error}",
            "`pip install 'okml[torchrec]' 'torch==2.13.*'` on CUDA; "
            "okml.video_workshop.items.torchrec_table says how on a CPU.",
        ) from error
    config = EmbeddingConfig(
        num_embeddings=rows, embedding_dim=width, name=ROWS, feature_names=[ITEM]
    )
    whole = EmbeddingCollection(tables=[config], device=torch.device("meta"))
    adagrad = {"optimizer": EmbOptimType.EXACT_ROWWISE_ADAGRAD, "learning_rate": rate, "eps": eps}
    sharder = EmbeddingCollectionSharder(fused_params=adagrad)
    plan = construct_module_sharding_plan(
        whole,
        {ROWS: row_wise(compute_kernel="fused")},
        sharder=sharder,
        world_size=mesh.size(),
        device_type=mesh.device_type,
    )
    env = ShardingEnv.from_process_group(mesh.get_group())
    here = torch.empty(0, device=mesh.device_type).device  # with the number of the GPU
    return sharder.shard(whole, plan, env, device=here)
