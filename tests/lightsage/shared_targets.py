"""Two processes whose losses see the targets of both; each has half of the batch."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from okml.lightsage.training.losses import Encoded, LossSettings, pair_loss
from tests.processes import worker


def encoded(queries, targets, negatives, *, ids=None, log_q=None, hard=None, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def unit(*shape):
        return functional.normalize(torch.randn(*shape, width, generator=generator), dim=-1)

    query_ids, target_ids, negative_ids = ids or (
        torch.arange(queries), 100 + torch.arange(targets), 200 + torch.arange(negatives)
    )  # fmt: skip
    return Encoded(
        unit(queries), unit(targets), unit(negatives), query_ids, target_ids, negative_ids,
        *(log_q or (torch.zeros(targets), torch.zeros(negatives))),
        hard=None if hard is None else unit(queries, hard),
    )  # fmt: skip


def batch() -> Encoded:
    """Return the global batch."""
    log_q = torch.rand(4 + 3, generator=torch.Generator().manual_seed(3)).split([4, 3])
    return encoded(4, 4, 3, log_q=log_q)


def half(rank: int) -> Encoded:
    """Return the queries and targets of one process, and the negatives, which both have."""
    rows = slice(2 * rank, 2 * rank + 2)
    names = ("query", "target", "query_ids", "target_ids", "target_log_q")
    return Encoded(**{**vars(batch()), **{n: getattr(batch(), n)[rows] for n in names}})


def loss_and_gradient(part: Encoded) -> dict[str, Tensor]:
    """Return the loss, and its gradient by a layer that all vectors pass."""
    weight = torch.eye(8).requires_grad_()
    moved = {
        name: functional.normalize(getattr(part, name) @ weight, dim=-1)
        for name in ("query", "target", "negative")
    }
    loss = pair_loss(LossSettings(), Encoded(**{**vars(part), **moved}))
    (gradient,) = torch.autograd.grad(loss, weight)
    return {"loss": loss.detach(), "gradient": gradient}


def one_process() -> dict[str, Tensor]:
    """Return the same of the global batch."""
    return loss_and_gradient(batch())


def work(rank: int) -> dict[str, Tensor]:
    """Return the means over processes, and the number of threads that outlive their group."""
    found = loss_and_gradient(half(rank))
    for value in found.values():
        dist.all_reduce(value)  # what a parallel module does
        value /= 2
    dist.barrier()
    dist.destroy_process_group()
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return found | {"threads left": torch.tensor(sum("gloo" in name for name in names))}


if __name__ == "__main__":
    worker(work)
