"""A program for two processes: a step with the student in shards beside one with it whole."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from okml.add.student import shard_student
from tests.add import tiny


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    whole, sharded = tiny.task(), tiny.task()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    shard_student(sharded.modules["student"], mesh=mesh)
    losses = {
        phase: tuple(
            float(tiny.run_phase(each, phase)["loss"].detach()) for each in (sharded, whole)
        )
        for phase in ("heads", "student")
    }
    gathered = {
        name: parameter.grad.full_tensor()
        for name, parameter in sharded.modules["student"].named_parameters()
    }
    gradients = {
        name: (gathered[name], parameter.grad)
        for name, parameter in whole.modules["student"].named_parameters()
    }
    if dist.get_rank() == 0:
        torch.save({"losses": losses, "gradients": gradients}, folder / "compared.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
