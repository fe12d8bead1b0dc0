"""Warm processes: forks of a server that has imported the libraries.

The import of torch and of libraries that use it takes seconds. A fork server imports them once and
then forks each process. It computes nothing, so its threads, which polars' and Arrow's allocators
start on import, rest when it forks.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext, SpawnContext

_modules: set[str] = set()


def warm_context(*modules: str) -> ForkServerContext | SpawnContext:
    """Return the multiprocessing context of warm processes; outside Linux, that of ``spawn``.

    Each process must call :func:`take_on` with the environment of its requester.

    Args:
        modules: Names of modules that the server imports when it starts.
    """
    if sys.platform != "linux":  # elsewhere, libraries start threads on import
        return multiprocessing.get_context("spawn")
    _modules.update(modules)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["okml.warm_server", *sorted(_modules)])
    return context


def take_on(environment: Mapping[str, str]) -> None:
    """Replace the server's environment in a new process by that of its requester."""
    os.environ.clear()
    os.environ.update(environment)
    threads = environment.get("OMP_NUM_THREADS")
    if threads and (torch := sys.modules.get("torch")):  # torch has read the server's value
        torch.set_num_threads(int(threads))
    # No process shares its progress bars, and the lock of processes that tqdm makes by default is a
    # semaphore, which a fork leaves behind.
    if tqdm := sys.modules.get("tqdm.std"):
        tqdm.tqdm.set_lock(threading.RLock())
