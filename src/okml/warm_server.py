"""The first import of the server of warm processes, which lets it outlive its processes.

A signal may reach a whole process group. The server ignores it, since it reports the exit codes of
the others, and ends when all of them have ended.
"""

from __future__ import annotations

import signal

_before = {
    number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGHUP)
}  # multiprocessing ignores SIGINT itself


def hear_again() -> None:
    """Restore the signal handlers in a fork."""
    for number, handler in _before.items():
        signal.signal(number, handler)
