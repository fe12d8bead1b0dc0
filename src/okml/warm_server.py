"""The first import of the server of warm processes, which lets it outlive its processes.

A signal may reach a whole process group. The server ignores it, since it reports the exit codes of
the others, and ends when all of them have ended.

It collects no garbage, which would take a fifth of the time of its imports.
"""

from __future__ import annotations

import gc
import os
import signal

gc.disable()

from okml.accelerator import FORKED  # noqa: E402 - it imports torch

os.environ.update(FORKED)

_before = {
    number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGHUP)
}  # multiprocessing ignores SIGINT itself


def _restore() -> None:
    """Restore the signal handlers and the garbage collection in a fork.

    At once: a process that ignored a signal while it still imports what it needs would outlive the
    others of its run.
    """
    for number, handler in _before.items():
        signal.signal(number, handler)
    gc.freeze()  # what was imported is no garbage, and its memory stays shared
    gc.enable()


os.register_at_fork(after_in_child=_restore)
