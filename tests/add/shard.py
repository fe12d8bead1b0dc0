"""A program for two processes: a step with the student in shards beside one with it whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from okml.add.student import shard_student
from okml.training.settings import Precision
from tests.add import tiny


def compare(precision: Precision) -> dict[str, Any]:
    """Return losses, gradients and the types of weights in use, each sharded and whole."""
    whole, sharded = tiny.task(), tiny.task()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    student = sharded.modules["student"]
    shard_student(student, precision, mesh)
    types: set[str] = set()
    convolution = next(m for m in student.modules() if isinstance(m, nn.Conv2d))
    convolution.register_forward_pre_hook(lambda m, _: types.add(str(m.weight.dtype)))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        losses = {
            phase: tuple(
                float(tiny.run_phase(each, phase)["loss"].detach()) for each in (sharded, whole)
            )
            for phase in ("heads", "student")
        }
    gathered = {name: weight.grad.full_tensor() for name, weight in student.named_parameters()}
    gradients = {
        name: (gathered[name], weight.grad)
        for name, weight in whole.modules["student"].named_parameters()
    }
    return {"losses": losses, "gradients": gradients, "types": sorted(types)}


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    found = {precision: compare(precision) for precision in get_args(Precision)}
    if dist.get_rank() == 0:
        torch.save(found, folder / "compared.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
