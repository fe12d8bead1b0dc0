"""A program for two processes: shard a module, train, save its whole state and load it again."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from okml.training.settings import Precision
from okml.training.sharded import (
    full_optimizer_state,
    full_weights,
    load_full_optimizer_state,
    load_full_weights,
    shard,
)


def build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def sharded(mixed_precision: Precision = "no") -> nn.Module:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return shard(build(), [], mixed_precision, mesh)


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    x = torch.linspace(-1, 1, 30).reshape(10, 3)
    for _ in range(steps):
        optimizer.zero_grad()
        module(x).square().mean().backward()
        optimizer.step()


def check_half_precision() -> None:
    """Weights are gathered in bfloat16, and what is summed of gradients stays in float32."""
    module, used = sharded("bf16"), []
    first = module.get_submodule("0")
    first.register_forward_pre_hook(lambda layer, _: used.append(layer.weight.dtype))
    x = torch.linspace(-1, 1, 30).reshape(10, 3) * (1 + dist.get_rank() / 3)
    with torch.autocast("cpu", torch.bfloat16):
        module(x).square().mean().backward()
    assert used == [torch.bfloat16]
    (gradient, *_) = (weight.grad.to_local() for weight in first.parameters())
    assert not torch.equal(gradient, gradient.bfloat16().float())


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    check_half_precision()
    module = sharded()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    train(module, optimizer, 3)
    whole = {"weights": full_weights(module), "optimizer": full_optimizer_state(module, optimizer)}
    if dist.get_rank() == 0:
        torch.save(whole, folder / "sharded.pt")
    dist.barrier()

    # A fresh module takes the state over and both go on alike.
    saved = torch.load(folder / "sharded.pt", weights_only=True)
    other = sharded()
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.01)
    load_full_weights(other, saved["weights"])
    load_full_optimizer_state(other, other_optimizer, saved["optimizer"])
    train(module, optimizer, 2)
    train(other, other_optimizer, 2)
    for a, b in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.to_local(), b.to_local())

    if dist.get_rank() == 0:
        twin = build()
        twin_optimizer = torch.optim.AdamW(twin.parameters(), lr=0.01)
        train(twin, twin_optimizer, 3)
        moments = {n: twin_optimizer.state[p]["exp_avg"] for n, p in twin.named_parameters()}
        torch.save({"weights": twin.state_dict(), "moments": moments}, folder / "twin.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
