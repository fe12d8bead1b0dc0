"""Two processes on this machine that train together, and what each of them found."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

ROOT = Path(__file__).parents[2]


def run_two(module: str, folder: Path) -> list[dict[str, torch.Tensor]]:
    """Run a module as two processes, which call :func:`worker`; return what they found, by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", module]
    running = [
        subprocess.Popen([*command, str(rank), str(port), str(folder)], cwd=ROOT)
        for rank in range(2)
    ]
    assert [process.wait(timeout=600) for process in running] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def worker(work: Callable[[int], dict[str, torch.Tensor]]) -> None:
    """Be one of the two processes: call ``work`` with its rank, and leave what it returns."""
    rank, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_WORLD_SIZE": "2"}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.save(work(rank), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
