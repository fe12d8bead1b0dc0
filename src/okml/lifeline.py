"""The common end of a run's processes: none of them outlives the others.

A run is a tree of processes: the command, a kernel for each chapter, and workers that train in
parallel. Two rules end it as a whole. Downwards, a process *follows* its parent: once the parent
has ended, the process sends itself SIGTERM. Upwards, a process that ends early fails the one that
waits for it. A process with a stop signal saves its current training and ends within ``GRACE_S``
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

GRACE_S = 8.0  # longest time from a stop signal to the end of a process
POLL_S = 0.5  # between two checks of the parent
ASKED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAUNCHERS = {"accelerate", "torchrun", "torch.distributed.run", "accelerate.commands.launch"}

_followed: int | None = None  # the parent with which this process ends
_writing = threading.Lock()


def follow(parent: int) -> None:
    """Watch the parent in a thread, and end this process when the parent has ended.

    Args:
        parent: The process id of the parent, which may have ended before this call.
    """
    global _followed
    _followed = parent
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def followed() -> int | None:
    """Return the id of the parent that this process follows; None for a run's first process."""
    return _followed


def follow_launcher() -> None:
    """Follow the parent if it is torchrun or accelerate, which leave orphans when killed.

    The process ends at once if torchrun started it and has ended already.
    """
    if _followed is not None:
        return
    command = _parents_command()
    if LAUNCHERS.intersection(command):
        follow(os.getppid())
    elif "TORCHELASTIC_RUN_ID" in os.environ and (os.getppid() == 1 or "systemd" in command):
        _end(signal.SIGTERM)


def _parents_command() -> list[str]:
    """Return the words of the parent's command without folders; empty outside Linux."""
    try:
        words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return []
    return [Path(word).name for word in words.split("\0")]


def _watch(parent: int) -> None:
    while _is_there(parent):
        time.sleep(POLL_S)
    # A listener saves a training first; without one, the signal ends the process.
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
    """Keep the process alive until the block has written its files, even past ``GRACE_S``."""
    with _writing:
        yield


class Listener:
    """Handles stop signals while a block runs.

    The process ends ``GRACE_S`` seconds after the first one; except for an interrupt in an
    interactive session, which concerns a cell. Ignored signals, such as SIGHUP under ``nohup``,
    stay ignored. Outside the main thread, where Python allows no handlers, it does nothing.

    Args:
        heard: A function that is called in the main thread with the number of each signal.
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
    """Leave a block at the first stop signal; end the process at a second SIGINT.

    Raises:
        SystemExit: After SIGTERM and SIGHUP, with 128 and the number as its code.
        KeyboardInterrupt: After SIGINT.
    """
    asked: list[int] = []

    def heard(number: int) -> None:
        asked.append(number)
        if len(asked) == 1:  # further ones come from a sender that signals all processes
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
    """End the program as a signal requires.

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
    """A pool of processes that follow this one; an exception in the block ends them.

    A stop signal ends a worker, which breaks the pool and so ends the others.

    Args:
        workers: Number of processes.
        initializer: A function that each worker calls before its first job.
        initargs: Arguments of the initializer.
        modules: Names of modules to import before the workers are forked.
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
        # Start all workers with the first job. Python would start one with each job, after it has
        # listed the processes whose end it notices, and so miss the end of the last one.
        self._safe_to_dynamically_spawn_children = False

    @property
    def processes(self) -> list[int]:
        """The ids of the workers."""
        return list(self._processes or {})

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
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback without a listener
    initializer(*initargs)


def _unless_stopped(job: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return job(*args, **kwargs)
    except SystemExit as stop:
        os._exit(stop.code if isinstance(stop.code, int) else 1)
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)


def end_children() -> None:
    """Terminate all child processes of :mod:`multiprocessing`, and wait for their end."""
    _end_all(multiprocessing.active_children())


def _end_all(children: Sequence[BaseProcess]) -> None:
    for child in children:
        child.terminate()
    until = time.monotonic() + GRACE_S
    for child in children:
        child.join(max(until - time.monotonic(), 0))


def end_with_parent() -> None:
    """Let the kernel send SIGTERM to this process when its parent ends; Linux only.

    It is a ``preexec_fn`` of ``subprocess`` for programs that are not ours.
    """
    if _libc() is not None:
        _libc().prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


PR_SET_PDEATHSIG = 1


@cache
def _libc() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
