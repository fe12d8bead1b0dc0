"""The trace of a program that is to be killed: a letter for each unit of work.

Who kills it waits for a unit, not for a time, so that a busy machine does not move the moment.
"""

from __future__ import annotations

import os
import time
from functools import wraps

TRACE = "SURVIVAL_TRACE"  # the file
PAUSE_S = 0.003  # of a unit of work, so that a program is more than its imports
WRITE = "w"  # a write that is made sure of; all other letters are what a program is there for


def work(letter: str) -> None:
    """Leave a trace of a unit of work."""
    handle = os.open(os.environ[TRACE], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, letter.encode())
    os.close(handle)
    if letter != WRITE:  # a disk takes its time by itself
        time.sleep(PAUSE_S)


def trace_writes() -> None:
    """Count each write that is made sure of as work, before and after; once is enough."""
    if hasattr(os.fsync, "__wrapped__"):
        return
    real = os.fsync

    @wraps(real)
    def fsync(handle: int) -> None:
        work(WRITE)
        real(handle)
        work(WRITE)

    os.fsync = fsync
