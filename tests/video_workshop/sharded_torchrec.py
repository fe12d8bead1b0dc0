"""Two processes train one table of TorchRec; the first has three quarters of every batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from okml.video_workshop.items.torchrec_table import TorchRecTable
from tests.processes import worker

ITEMS, WIDTH = 10, 4  # 11 rows: slices of 6 and 5
RATES = (0.3, 0.3, 0.1)  # of the steps
EPS = 0.5  # large, so that the scale of the gradients counts
WEIGHTS = torch.linspace(0.5, 2, WIDTH)


def batches() -> Tensor:
    """Return ids of a few batches, ``[steps, b, n]``, with padding."""
    return torch.randint(ITEMS + 1, (len(RATES), 4, 3), generator=torch.Generator().manual_seed(5))


def loss(lookup: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
    """Return a loss summed over the batch; rows are read as input and output in one look-up."""
    read = torch.cat([ids.flatten(), torch.arange(1, ITEMS + 1)])
    inputs, items = lookup(read).split([ids.numel(), ITEMS])  # [b n, d], [items, d]
    logits = torch.tanh(inputs * WEIGHTS) @ items.T
    return nn.functional.cross_entropy(logits, ids.flatten() - 1, ignore_index=-1, reduction="sum")


def one_process(first: Tensor) -> dict[str, Tensor]:
    """Return a table trained in one piece from its ``first`` values, by Adagrad as it is defined.

    Row-wise Adagrad keeps one sum a row, of the means of the squares of its gradients.
    """
    rows = nn.Embedding.from_pretrained(first.clone(), freeze=False, padding_idx=0)
    sums = torch.zeros(len(first))
    lookup = rows(batches()[0]).detach()
    for ids, rate in zip(batches(), RATES, strict=True):
        mean = loss(rows, ids) / 2  # over the processes
        (gradient,) = torch.autograd.grad(mean, rows.weight)
        sums += gradient.square().mean(1)
        rows.weight.data -= rate * gradient / (sums.sqrt() + EPS)[:, None]
    return {"lookup": lookup, "table": rows.weight.detach(), "sums": sums}


def train(table: TorchRecTable, part: slice) -> dict[str, Tensor]:
    """Take the steps on a part of each batch; return what :func:`one_process` does, in slices."""
    found = {"first": table.local_rows.clone(), "lookup": table.lookup(batches()[0, part]).detach()}
    for ids, rate in zip(batches(), RATES, strict=True):
        table.optimizer.param_groups[0]["lr"] = rate
        table.optimizer.step()
        loss(table.lookup, ids[part]).backward()
    (state,) = table.optimizer.state_dict()["state"].values()
    (sums,) = state.values()
    found["sums"] = sums.local_shards()[0].tensor
    with torch.no_grad():
        found["table"] = table()
    return found


def step_of_a_row(mesh: DeviceMesh, lookups: list[list[int]]) -> Tensor:
    """Return how far one step moves row 3, ``[d]``, if both processes read it in some look-ups."""
    table = TorchRecTable(ITEMS, WIDTH, mesh, rate=0.3)
    three = torch.tensor([3])
    before = table.lookup(three).detach()
    torch.stack(
        [(table.lookup(torch.tensor(ids)) * WEIGHTS).sum() for ids in lookups]
    ).sum().backward()
    return (before - table.lookup(three).detach())[0]


def work(rank: int) -> dict[str, Tensor]:
    """Return what one of the two processes finds."""
    mesh = init_device_mesh("cpu", (2,))
    torch.manual_seed(0)
    table = TorchRecTable(ITEMS, WIDTH, mesh, rate=RATES[0], eps=EPS)
    found = train(table, [slice(0, 3), slice(3, 4)][rank])
    nothing = torch.zeros(0, 3, dtype=torch.int64)
    found["read alone"] = table.lookup(nothing if rank else batches()[1]).detach()
    found["one look-up"] = step_of_a_row(mesh, [[3, 3]])
    found["two look-ups"] = step_of_a_row(mesh, [[3], [3]])
    return found


if __name__ == "__main__":
    worker(work)
