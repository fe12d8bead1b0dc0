"""Processes that start warm: forked from a server that has imported what they need.

Importing torch and what builds on it takes a process seconds. The server of a process does that
once and then forks whatever it asks for. The server computes nothing, so that no lock is held and
no thread of a computation is missing in a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext, SpawnContext

_modules: set[str] = set()


def warm_context(*modules: str) -> ForkServerContext | SpawnContext:
    """Return the context that starts warm processes; elsewhere than on Linux they start cold.

    Each process has to :func:`take_on` the environment of the one that asked for it.

    Args:
        modules: What the server imports, unless it runs already.
    """
    if sys.platform != "linux":  # libraries of other systems start threads when they load
        return multiprocessing.get_context("spawn")
    _modules.update(modules)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["okml.warm_server", *sorted(_modules)])
    return context


def take_on(environment: Mapping[str, str]) -> None:
    """Give a fresh process the environment of the one that asked for it instead of the server's."""
    if server := sys.modules.get("okml.warm_server"):
        server.hear_again()
    os.environ.clear()
    os.environ.update(environment)
    threads = environment.get("OMP_NUM_THREADS")
    if threads and (torch := sys.modules.get("torch")):  # which has read the server's
        torch.set_num_threads(int(threads))
