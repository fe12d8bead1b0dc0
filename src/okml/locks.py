"""One run, one folder: a second one waits, or says who is there.

The lock is the operating system's, so it goes with the process that holds it, however that ends.
The lock file names its holder for those who meet it.
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
from pydantic import BaseModel, ConfigDict, ValidationError

from okml.clock import now
from okml.errors import BusyError
from okml.lifeline import GRACE_S, followed

LOCK = ".lock"
WAIT_VARIABLE = "OKML_WAIT"  # "1": wait for whoever runs in the folder, as `okml run --wait` does
PATIENCE_S = 1.0  # so that a look at who holds a lock keeps nobody from it
ENDING_S = GRACE_S + 2  # until the processes of a run that was killed are gone
POLL_S = 0.1


class Holder(BaseModel):
    """Who holds a folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    host: str
    since: str  # UTC, ISO 8601
    command: str
    parent: int | None = None  # with which it ends

    @property
    def ending(self) -> bool:
        """Whether the run that it is part of was killed, so that it will be gone in a moment."""
        here = self.host == socket.gethostname()
        return here and self.parent is not None and not psutil.pid_exists(self.parent)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"


def holder(folder: Path) -> Holder | None:
    """Return who holds a folder now; None where nobody does."""
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
    """Keep other processes out of a folder while a block runs.

    Where ``OKML_WAIT`` is 1, this waits for whoever is there, as long as it takes.

    Args:
        folder: It is made if it is not there.
        lock: Name of the lock file, of a folder that several may use, each a file of it.
        patience: Seconds to wait in any case.
        reentrant: Let this process in more than once.
        say: Told whom it waits for.

    Raises:
        BusyError: If another process holds the folder; the message says which.
    """
    taken = take(folder, lock, patience=patience, reentrant=reentrant, say=say)
    try:
        yield
    finally:
        taken.release()


def take(
    folder: Path,
    lock: str = LOCK,
    *,
    patience: float = PATIENCE_S,
    reentrant: bool = True,
    say: Callable[[str], object] = print,
) -> FileLock:
    """Like :func:`held`, until the lock is released or its last reference goes."""
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
    return taken


def _acquire(lock: FileLock, seconds: float) -> bool:
    try:
        lock.acquire(timeout=seconds, poll_interval=POLL_S)
    except Timeout:
        return False
    return True


def _read(path: Path) -> Holder | None:
    """Return the holder that a lock file names, once it has written there."""
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
