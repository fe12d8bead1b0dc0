"""Notebook kernels in processes with imported libraries, provisioned as ``okml-warm``.

Jupyter starts a kernel through a *provisioner*, which it finds by its entry point.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from okml.lifeline import follow
from okml.warm import take_on, warm_context

NAME = "okml-warm"
# The imports of all chapters, without matplotlib, which reads its backend from the environment.
# Every optimizer imports torch._dynamo when it is made.
LIBRARIES = (
    "ipykernel.kernelapp", "okml.seqrec.tasks", "scipy.stats", "sklearn.linear_model",
    "torch._dynamo",
)  # fmt: skip


def start_warm() -> None:
    """Start this process's kernels in warm processes."""
    KernelProvisionerFactory.instance().default_provisioner_name = NAME


class WarmProvisioner(LocalProvisioner):
    """Starts ipykernel in a warm process; everything else is Jupyter's."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start a kernel and return its connection.

        Args:
            cmd: Jupyter's usual command: an interpreter, then ipykernel's options from ``-f`` on.
            kwargs: Jupyter's arguments, among them the environment and, optionally, the working
                directory.
        """
        options = cmd[cmd.index("-f") :]
        folder = Path(kwargs.get("cwd") or Path.cwd())
        process = warm_context(*LIBRARIES).Process(
            target=_serve, args=(options, folder, dict(kwargs["env"]))
        )
        process.start()
        self.process = _Popen(process)  # type: ignore[assignment]
        self.pid = self.pgid = process.pid
        self.cwd = folder
        return self.connection_info


class _Popen:
    """The interface of ``subprocess.Popen`` that Jupyter uses."""

    stdin = stdout = stderr = None

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self.kill = process.kill
        self.terminate = process.terminate

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)


def _serve(options: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Run a kernel until it is shut down."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()  # a signal to its group reaches only the kernel and its children
    take_on(environment)
    os.chdir(folder)
    # A kernel without a parent saves its training first; ipykernel's own poller would end it.
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    follow(parent.pid)
    IPKernelApp.launch_instance(argv=[*options, "--IPKernelApp.parent_handle=1"])
