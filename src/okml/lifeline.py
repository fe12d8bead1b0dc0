"""A run ends as a whole: no process of it outlives the others.

A run is a tree of processes: the command, a kernel for each chapter, and workers that train ahead.
Two rules hold it together. Downwards, a process *follows* its parent: once that is gone, it asks
itself to stop. Upwards, a process that ends early fails the one that waits for it. A process that
was asked to stop saves the training that it is in the middle of and ends within ``GRACE_S``
seconds, or as soon as the checkpoint that it is writing is on disk.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, ParamSpec, Self, TypeVar

from okml.warm import take_on, warm_context

P = ParamSpec("P")
T = TypeVar("T")

GRACE_S = 8.0  # from a request to stop to the end of a process, whatever it does
POLL_S = 0.5  # between two looks whether the parent is there
ASKED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAUNCHERS = {"accelerate", "torchrun", "torch.distributed.run", "accelerate.commands.launch"}

_followed: int | None = None  # the parent with which this process ends
_writing = threading.Lock()


def follow(parent: int) -> None:
    """End this process when its parent has ended; return at once.

    Args:
        parent: Its process id. It may have ended before this call.
    """
    global _followed
    _followed = parent
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def followed() -> int | None:
    """Return the parent with which this process ends; None if it is the first of a run."""
    return _followed


def follow_launcher() -> None:
    """Follow the parent if it is torchrun or accelerate, which leave processes when killed.

    Where torchrun started this process and is gone already, this is the end.
    """
    if _followed is not None:
        return
    command = _parents_command()
    if LAUNCHERS.intersection(command):
        follow(os.getppid())
    elif "TORCHELASTIC_RUN_ID" in os.environ and (os.getppid() == 1 or "systemd" in command):
        _end(signal.SIGTERM)


def _parents_command() -> list[str]:
    """Return the words of the parent's command without folders; on Linux only."""
    try:
        words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return []
    return [Path(word).name for word in words.split("\0")]


def _watch(parent: int) -> None:
    while _is_there(parent):
        time.sleep(POLL_S)
    # Whoever listens saves a training first; without a listener this is the end.
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    _end(signal.SIGTERM)


def _is_there(parent: int) -> bool:
    asker = multiprocessing.parent_process()
    if asker is not None and asker.pid == parent:  # a server has forked this process for it
        return asker.is_alive()
    return os.getppid() == parent


def _end(number: int) -> NoReturn:
    with _writing:
        os._exit(128 + number)


@contextmanager
def writing() -> Iterator[None]:
    """Let this process finish what it writes, even past ``GRACE_S``."""
    with _writing:
        yield


class Listener:
    """Hears, while a block runs, the signals that ask this process to stop.

    After the first one the block has ``GRACE_S`` seconds, then the process ends wherever it is;
    except for an interrupt in an interactive session, which is meant for a cell. Signals that are
    ignored, as SIGHUP is under ``nohup``, stay so. Outside the main thread, where Python allows no
    handlers, nothing is heard.

    Args:
        heard: Called in the main thread with the number of each signal.
    """

    def __init__(self, heard: Callable[[int], None]) -> None:
        self._heard = heard
        self._before: dict[int, Any] = {}
        self._deadline: threading.Timer | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in ASKED_BY:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._deadline is not None:
            self._deadline.cancel()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        meant_for_a_cell = number == signal.SIGINT and _interactive() and _followed is None
        if self._deadline is None and not meant_for_a_cell:
            self._deadline = threading.Timer(GRACE_S, _end, [number])
            self._deadline.daemon = True
            self._deadline.start()
        self._heard(number)


@contextmanager
def stoppable() -> Iterator[None]:
    """Leave a block at the first signal that asks to stop; a second SIGINT ends the process.

    Raises:
        SystemExit: After SIGTERM and SIGHUP, with 128 and the number as its code.
        KeyboardInterrupt: After SIGINT.
    """
    asked: list[int] = []

    def heard(number: int) -> None:
        asked.append(number)
        if len(asked) == 1:  # others come from whoever signals all processes of a run
            _raise(number)
        if _followed is None and asked.count(signal.SIGINT) > 1:
            _end(number)

    with Listener(heard):
        try:
            yield
        except SystemExit:
            if asked:
                leave(asked[0])
            raise


def leave(number: int) -> NoReturn:
    """End the program the way a signal asks for.

    Raises:
        SystemExit: After SIGTERM and SIGHUP, with 128 and the number as its code.
        KeyboardInterrupt: After SIGINT.
    """
    if number != signal.SIGINT and _followed is not None and _interactive():
        _end(number)  # a kernel would catch the exception and wait
    _raise(number)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _interactive() -> bool:
    return hasattr(sys, "ps1")


class WorkerPool(ProcessPoolExecutor):
    """Processes that follow this one, and that end when the block is left by an exception.

    A worker that was asked to stop ends, so that the pool breaks and none of the others goes on.

    Args:
        workers: Processes at a time.
        initializer: Called in each worker before its first job.
        initargs: What with.
        modules: What all of them import.
    """

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., object],
        initargs: tuple[Any, ...] = (),
        modules: Sequence[str] = (),
    ) -> None:
        super().__init__(
            workers,
            warm_context(*modules),
            initializer=_begin,
            initargs=(os.getpid(), dict(os.environ), initializer, initargs),
        )
        # All start with the first job. Python would start one with each, after it has listed those
        # whose end it notices, and so miss the end of the last one.
        self._safe_to_dynamically_spawn_children = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a job."""
        return super().submit(_unless_stopped, fn, *args, **kwargs)

    def __exit__(self, kind: type[BaseException] | None, *exception: Any) -> None:
        if kind is not None:
            workers = list((self._processes or {}).values())
            self.shutdown(wait=False, cancel_futures=True)
            _end_all(workers)
        super().__exit__(kind, *exception)


def _begin(
    parent: int,
    environment: Mapping[str, str],
    initializer: Callable[..., object],
    initargs: tuple[Any, ...],
) -> None:
    take_on(environment)
    follow(parent)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback where nobody listens
    initializer(*initargs)


def _unless_stopped(job: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return job(*args, **kwargs)
    except SystemExit as stop:
        os._exit(stop.code if isinstance(stop.code, int) else 1)
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)


def end_children() -> None:
    """Ask all child processes of :mod:`multiprocessing` to stop, and wait until they have."""
    _end_all(multiprocessing.active_children())


def _end_all(children: Sequence[BaseProcess]) -> None:
    for child in children:
        child.terminate()
    until = time.monotonic() + GRACE_S
    for child in children:
        child.join(max(until - time.monotonic(), 0))


def end_with_parent() -> None:
    """Make the program that this process becomes end with its parent; Linux only.

    For ``subprocess`` as ``preexec_fn``, and programs that are not ours.
    """
    if _libc() is not None:
        _libc().prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


PR_SET_PDEATHSIG = 1


@cache
def _libc() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
