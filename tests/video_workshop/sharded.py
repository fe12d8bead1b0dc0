"""Two processes train one sharded table; each has half of every batch."""

from __future__ import annotations

import torch
from torch.distributed.device_mesh import init_device_mesh

from okml.video_workshop.common.table import IdTable
from okml.video_workshop.items.sharding import ShardedIdTable
from tests.processes import worker

ITEMS, WIDTH, STEPS = 10, 4, 3  # 11 rows: slices of 6 and 5


def batches() -> torch.Tensor:
    """Return ids of a few batches, ``[steps, b, n]``, with padding."""
    return torch.randint(ITEMS + 1, (STEPS, 4, 3), generator=torch.Generator().manual_seed(5))


def loss(table: torch.nn.Module, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return a loss that reads the table as input and as output, summed over the batch."""
    vectors = table.lookup(ids)  # [b, n, d]
    logits = torch.tanh(vectors * weights) @ table()[1:].T  # [b, n, items]
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), ids.flatten() - 1, ignore_index=-1, reduction="sum"
    )


def train(table: torch.nn.Module, part: slice) -> dict[str, torch.Tensor]:
    """Take a few steps on a part of each batch; return look-ups, and the table's first gradient."""
    optimizer = torch.optim.Adam(table.parameters(), lr=0.1, foreach=False)
    weights = torch.linspace(0.5, 2, WIDTH)
    found = {"lookup": table.lookup(batches()[0, part]).detach()}
    for step, ids in enumerate(batches()):
        optimizer.zero_grad()
        loss(table, ids[part], weights).backward()
        if step == 0:
            gradient = table.rows.weight.grad
            full = getattr(gradient, "full_tensor", None)
            found["gradient"] = gradient.clone() if full is None else full()
        optimizer.step()
    found["table"] = table().detach()
    return found


def one_process() -> dict[str, torch.Tensor]:
    """Return the same of a table in one piece."""
    torch.manual_seed(0)
    return train(IdTable(ITEMS, WIDTH), slice(None))


def work(rank: int) -> dict[str, torch.Tensor]:
    """Return what one of the two processes finds."""
    torch.manual_seed(rank)  # the weights of the first process are those of all
    table = ShardedIdTable(ITEMS, WIDTH, init_device_mesh("cpu", (2,)))
    found = train(table, slice(2 * rank, 2 * rank + 2))
    found["local rows"] = torch.tensor(len(table.rows.weight.to_local()))
    return found


if __name__ == "__main__":
    worker(work)
