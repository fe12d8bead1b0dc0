"""Programs that tests run in processes of their own, alone or two together.

The processes are forked from a server that has imported the large libraries, which takes seconds,
once. Apart from that a program runs as under ``python -m`` or ``torchrun``; a test of
:mod:`tests.training.test_processes` shows that the real launcher does the same.
"""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import torch
import torch.distributed as dist

from okml.warm import take_on, warm_context
from tests.device import DEVICE

ROOT = Path(__file__).parents[1]
LIMIT_S = 600  # of a program
GRACE_S = 30  # of a process when another one has failed
SERVER = warm_context(
    "okml.add.experiment", "okml.offline_rl.experiment", "okml.space_time.experiment"
)


@dataclass(frozen=True)
class Done:
    """How a program ended: the code of the process that failed first, else 0."""

    returncode: int
    stderr: str


class Program:
    """A module that runs as a program, in one process or in several that know one another."""

    def __init__(self, module: str, *arguments: object, processes: int = 1) -> None:
        self._logs = tempfile.TemporaryDirectory()
        self._store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if processes > 1 or DEVICE == "cpu":
            environment["ACCELERATE_USE_CPU"] = "true"
        command = [module, *map(str, arguments)]
        self._processes = []
        for rank in range(processes):
            place = self._place(rank, processes) if processes > 1 else {}
            given = (command, environment | place, Path(self._logs.name) / f"{rank}.log")
            self._processes.append(SERVER.Process(target=run_as_program, args=given))
            self._processes[-1].start()

    def _place(self, rank: int, processes: int) -> dict[str, str]:
        """Return what torchrun tells a process about the others."""
        return {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self._store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is there, none has to open it
        }

    def kill(self) -> None:
        """Send SIGKILL to all processes."""
        for process in self._processes:
            process.kill()

    def wait(self) -> Done:
        """Wait for the end; as under torchrun, a process that fails ends the others.

        Raises:
            TimeoutError: If it takes longer than ``LIMIT_S``.
        """
        deadline = time.monotonic() + LIMIT_S
        running = {process.sentinel: process for process in self._processes}
        code = 0
        while running and code == 0:
            ended = wait(list(running), deadline - time.monotonic())
            if not ended:
                self.kill()
                raise TimeoutError(f"A program took more than {LIMIT_S} s.")
            for process in [running.pop(sentinel) for sentinel in ended]:
                process.join()
                code = code or process.exitcode
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join(GRACE_S)
            process.kill()
            process.join()
        said = "".join(path.read_text() for path in sorted(Path(self._logs.name).iterdir()))
        self._logs.cleanup()
        return Done(code, said)


def run(module: str, *arguments: object) -> Done:
    """Run a module as a program and wait for it."""
    return Program(module, *arguments).wait()


def launch(module: str, *arguments: object) -> Done:
    """Run a module as two processes and wait for both."""
    return Program(module, *arguments, processes=2).wait()


def run_two(module: str, folder: Path) -> list[dict[str, torch.Tensor]]:
    """Run a module whose processes call :func:`worker`; return what they found, by rank."""
    done = launch(module, folder)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def worker(work: Callable[[int], dict[str, torch.Tensor]]) -> None:
    """Be one of the two processes: call ``work`` with its rank, and leave what it returns."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.save(work(rank), Path(sys.argv[1]) / f"{rank}.pt")


def run_as_program(command: list[str], environment: Mapping[str, str], log: Path) -> None:
    """Become a program whose output goes to a file."""
    with log.open("w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    take_on(environment)
    os.chdir(ROOT)
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # Gloo's threads may let go of a tensor a little after the collective that used it; if Python
    # is being torn down by then, the process is aborted (pytorch/pytorch#190489). Destroying the
    # group does not always end them, since meshes hold it too.
    os._exit(0)
