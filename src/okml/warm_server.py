"""What the server of warm processes imports first, so that it outlives those it serves.

Signals may reach a whole group of processes at once. Without the server nobody would learn how the
others end; it ends when all of them have.
"""

from __future__ import annotations

import signal

_before = {
    number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGHUP)
}  # multiprocessing itself does so with SIGINT


def hear_again() -> None:
    """Undo in a fork what was done to the server."""
    for number, handler in _before.items():
        signal.signal(number, handler)
