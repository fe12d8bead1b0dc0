"""Programs of the tests that run as two processes on this machine."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

ROOT = Path(__file__).parents[1]


def launch(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module as two processes and wait for both."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node", "2", "-m", __name__, program, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=600,
    )


def run_two(program: str, folder: Path) -> list[dict[str, torch.Tensor]]:
    """Run a module whose processes call :func:`worker`; return what they found, by rank."""
    done = launch(program, str(folder))
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def worker(work: Callable[[int], dict[str, torch.Tensor]]) -> None:
    """Be one of the two processes: call ``work`` with its rank, and leave what it returns."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.save(work(rank), Path(sys.argv[1]) / f"{rank}.pt")


def main() -> None:
    """Run a module as a program, and leave without the interpreter's last rites.

    Gloo's threads may let go of a tensor a little after the collective that used it; if Python is
    being torn down by then, the process is aborted (pytorch/pytorch#190489). Destroying the group
    does not always end them, since meshes hold it too.
    """
    _, program, *arguments = sys.argv
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
