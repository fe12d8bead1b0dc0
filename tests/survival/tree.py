"""The processes of a run without its weight: ``python -m tests.survival.tree ROLE FOLDER``.

A command, workers of its pool, and a kernel in a session of its own. Each says in ``FOLDER`` that
it is there, and notes what it does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from okml import lifeline
from okml.lifeline import (
    Listener,
    WorkerPool,
    end_children,
    end_with_parent,
    follow,
    follow_launcher,
    leave,
    stoppable,
    writing,
)
from okml.warm import take_on, warm_context


def there(folder: Path, name: str, pid: int | None = None) -> None:
    new = folder / f"{name}.new"
    new.write_text(str(pid or os.getpid()))
    new.rename(folder / f"{name}.pid")


def note(folder: Path, text: str) -> None:
    with (folder / "notes").open("a") as file:
        file.write(text + "\n")


def nothing() -> None:
    pass


def trainer(folder: Path, name: str = "trainer") -> None:
    """Leave between two steps, once what was done is saved."""
    asked: list[int] = []
    with Listener(asked.append):
        there(folder, name)
        while not asked:
            time.sleep(0.01)
        note(folder, f"{name} saved")
        leave(asked[0])


def sleeper(folder: Path) -> None:
    there(folder, "sleeper")
    time.sleep(60)


def side_by_side(folder: Path) -> None:
    there(folder, "root")
    with stoppable(), WorkerPool(2, nothing) as pool:
        for job in [pool.submit(trainer, folder), pool.submit(sleeper, folder)]:
            job.result()


def behind_nohup(folder: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    side_by_side(folder)


def command(folder: Path) -> None:
    there(folder, "root")
    given = (folder, os.getpid(), dict(os.environ))
    with stoppable():
        warm_context().Process(target=kernel, args=given).start()
        try:
            for child in multiprocessing.active_children():
                child.join()
        except BaseException:
            end_children()
            raise


def kernel(folder: Path, parent: int, environment: dict[str, str]) -> None:
    """Be an interactive session, which catches SystemExit and goes on."""
    os.setsid()
    take_on(environment)
    sys.ps1 = ">>> "
    follow(parent)
    try:
        with stoppable(), WorkerPool(2, nothing) as pool:
            there(folder, "kernel")
            jobs = [pool.submit(trainer, folder, name) for name in ("trainer", "other")]
            for job in jobs:
                job.result()
    except SystemExit:
        note(folder, "the kernel goes on")
        time.sleep(60)


def stubborn(folder: Path) -> None:
    lifeline.GRACE_S = 0.5
    with Listener(lambda number: note(folder, "heard")):
        there(folder, "root")
        time.sleep(60)


def busy_writer(folder: Path) -> None:
    lifeline.GRACE_S = 0.5
    with Listener(lambda number: note(folder, "heard")):
        with writing():
            there(folder, "root")
            time.sleep(3)
            note(folder, "written")
        time.sleep(60)


def with_foreign_program(folder: Path) -> None:
    with subprocess.Popen(["sleep", "60"], preexec_fn=end_with_parent) as program:
        there(folder, "program", program.pid)
        there(folder, "root")


def follower(folder: Path) -> None:
    follow_launcher()
    there(folder, "follower")
    time.sleep(60)


def late_follower(folder: Path) -> None:
    """Look for the launcher when it is gone."""
    there(folder, "follower")
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.05)
    follow_launcher()
    note(folder, "goes on")
    time.sleep(60)


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who runs the tests may be behind nohup
    globals()[sys.argv[1]](Path(sys.argv[2]))
