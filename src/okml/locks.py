"""Locks of run folders: a second process waits, or fails with the name of the holder.

The operating system releases the lock when its process ends, however that happens. The lock file
names the holder.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from pydantic import ValidationError

from okml.clock import now
from okml.errors import BusyError
from okml.lifeline import GRACE_S, followed
from okml.settings import Frozen

LOCK = ".lock"
WAIT_VARIABLE = "OKML_WAIT"  # "1": wait for the holder of the folder, as `okml run --wait` does
PATIENCE_S = 1.0  # default wait, since a query of the holder takes the lock for a moment
ENDING_S = GRACE_S + 2  # wait for the processes of a killed run to end
POLL_S = 0.1


class Holder(Frozen):
    """The process that holds a folder."""

    pid: int
    host: str
    since: str  # UTC, ISO 8601
    command: str
    parent: int | None = None  # the parent that it follows

    @property
    def ending(self) -> bool:
        """Whether its run was killed, so that it is about to end."""
        here = self.host == socket.gethostname()
        return here and self.parent is not None and not psutil.pid_exists(self.parent)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"


def holder(folder: Path) -> Holder | None:
    """Return the current holder of a folder; None if it is free."""
    path = folder / LOCK
    if not path.exists():
        return None
    try:
        with FileLock(path, timeout=0):
            return None
    except Timeout:
        return _read(path)


@contextmanager
def held(
    folder: Path,
    lock: str = LOCK,
    *,
    patience: float = PATIENCE_S,
    reentrant: bool = True,
    say: Callable[[str], object] = print,
) -> Iterator[None]:
    """Lock a folder against other processes while a block runs.

    If ``OKML_WAIT`` is 1, it waits for the holder without a time limit.

    Args:
        folder: The folder, which is created if it is missing.
        lock: Name of the lock file; several names lock several files of one folder.
        patience: Seconds to wait in any case.
        reentrant: Whether this process may take the lock more than once.
        say: A function that gets the message about the holder it waits for.

    Raises:
        BusyError: If another process holds the folder; the message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / lock
    taken = FileLock(path, thread_local=False, is_singleton=reentrant)
    if not _acquire(taken, patience):
        found = _read(path)
        if os.environ.get(WAIT_VARIABLE) == "1":
            say(f"Waiting for {found or 'another process'}, which runs in {folder} …")
            taken.acquire(poll_interval=1)
        elif found is None or not found.ending or not _acquire(taken, ENDING_S):
            raise _busy(folder, found)
    path.write_text(_me().model_dump_json(), encoding="utf-8")
    try:
        yield
    finally:
        taken.release()


def _acquire(lock: FileLock, seconds: float) -> bool:
    try:
        lock.acquire(timeout=seconds, poll_interval=POLL_S)
    except Timeout:
        return False
    return True


def _read(path: Path) -> Holder | None:
    """Return the holder that a lock file names, waiting until the name is written."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            return Holder.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            time.sleep(POLL_S)
    return None


def _me() -> Holder:
    program = Path(sys.argv[0]).name
    if program.startswith("ipykernel"):
        command = "a notebook" if followed() is None else "a notebook, for okml run"
    else:
        command = " ".join([program, *sys.argv[1:]])
    return Holder(
        pid=os.getpid(),
        host=socket.gethostname(),
        since=now(),
        command=command,
        parent=followed(),
    )


def _busy(folder: Path, found: Holder | None) -> BusyError:
    stop = f"`kill {found.pid}`" if found else "its signal"
    place = f" on {found.host}" if found and found.host != socket.gethostname() else ""
    return BusyError(
        f"{folder} is in use by {found or 'another process'}.",
        f"Wait for it with --wait (or {WAIT_VARIABLE}=1), look at it with `okml status`, stop it "
        f"with {stop}{place}, which keeps what it has done, or give this run a folder of its own "
        "with --out or --run-dir.",
    )
