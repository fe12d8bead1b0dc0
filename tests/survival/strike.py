"""Kill a program at a random moment, look at what is left, and start it again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.processes import ROOT, SERVER, run_as_program
from tests.survival.scenarios import SERVER_ROLE, Outcome, Scenario, Work
from tests.survival.toy import TRAINING
from tests.survival.work import TRACE, WRITE

MARK = "SURVIVAL_MARK"  # in the environment of all processes of a program
ALL_S = 10.0  # in which no process of a run may be left
LIMIT_S = 300.0  # of a program that nobody kills
ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a process may save what it has done
SIGNALS = (*ASKING, signal.SIGKILL, signal.SIGKILL)
TRACKER = "multiprocessing.resource_tracker"  # which no run would miss
SERVER_MODULE = "multiprocessing.forkserver"
GONE = (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess)


@dataclass(frozen=True)
class Moment:
    """A time after a unit of work, so that it means the same on a busy machine."""

    work: int
    seconds: float


@dataclass(frozen=True)
class Reference:
    """A run that nobody killed: what it left, its work, and when it did each unit of it."""

    outcome: Outcome
    work: Work
    times: tuple[float, ...]  # seconds from the start; the first one is the start, the last the end

    def moment(self, rng: random.Random) -> Moment:
        """Draw a unit of work, each as likely, and a time between it and the one after."""
        unit = rng.randrange(len(self.times) - 1)
        return Moment(unit, rng.uniform(0, self.times[unit + 1] - self.times[unit]))


@dataclass(frozen=True)
class Strike:
    """What a kill did.

    Attributes:
        scenario: What was killed.
        role: Which of its processes.
        how: The signal.
        seconds: Until no process was left; None: some were, after all patience.
        lost: What was half-written, was done although it was there, or was litter in the end.
        equal: Whether the program, started again, ended as it does when nobody kills it.
    """

    scenario: str
    role: str
    how: str
    seconds: float | None
    lost: tuple[str, ...]
    equal: bool

    @property
    def survived(self) -> bool:
        """Whether nothing was wrong."""
        return self.seconds is not None and not self.lost and self.equal


class Program:
    """A program in its folder, with all processes that come of it.

    Args:
        scenario: Which program.
        folder: It is prepared.
    """

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.trace = folder.with_name(f"{folder.name}.trace")
        self.trace.write_bytes(b"")
        self._mark = uuid.uuid4().hex
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            TRACE: str(self.trace),
            MARK: self._mark,
            **scenario.environment(folder),
        }
        log = folder.with_name(f"{folder.name}.log")
        start = _Warm if scenario.warm else _Cold
        self._process = start(scenario.command(folder), environment, log)
        self._root = psutil.Process(self._process.pid)  # and nobody who gets its number later

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.code

    @property
    def units(self) -> int:
        """The number of units of work done so far, writes included."""
        return self.trace.stat().st_size

    def work(self) -> Work:
        """Return the work done so far without writes, which depend on moments."""
        done = Work(self.trace.read_text())
        del done[WRITE]
        return done

    def processes(self) -> list[psutil.Process]:
        """Return all that run, in whichever session they are."""
        return list(self._alive())

    def _alive(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with suppress(*GONE):
                ours = process == self._root or process.environ().get(MARK) == self._mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    yield process

    def by_role(self) -> dict[str, list[psutil.Process]]:
        """Return the processes that a strike may hit."""
        found: dict[str, list[psutil.Process]] = {}
        for process in self.processes():
            with suppress(*GONE):
                if TRACKER not in " ".join(process.cmdline()):
                    role = self.scenario.role(process, self._forks(process))
                    found.setdefault(role, []).append(process)
        return found

    def _forks(self, process: psutil.Process) -> int:
        """Count the servers, and what they have forked, from the command down to a process."""
        forks = 0
        while process != self._root:
            forks += SERVER_MODULE in " ".join(process.cmdline())
            process = process.parent() or self._root
        return forks

    def close(self) -> None:
        """End what is left."""
        for process in self.processes():
            with suppress(*GONE):
                process.kill()
        self._process.wait()


class _Cold:
    """A program started by a command."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as file:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        self.pid = self._popen.pid
        self.wait = self._popen.wait

    @property
    def code(self) -> int | None:
        return self._popen.poll()


class _Warm:
    """A program forked from the server of :mod:`tests.processes`."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._process = SERVER.Process(target=run_as_program, args=(command, environment, log))
        self._process.start()
        self.pid = self._process.pid
        self.wait = self._process.join

    @property
    def code(self) -> int | None:
        return self._process.exitcode


@contextmanager
def started(scenario: Scenario, folder: Path) -> Iterator[Program]:
    program = Program(scenario, folder)
    try:
        yield program
    finally:
        program.close()


def reference(scenario: Scenario, folder: Path) -> Reference:
    """Run a program to its end.

    Raises:
        AssertionError: If it fails, or leaves what it should not.
    """
    scenario.prepare(folder)
    times, begun = [0.0], time.monotonic()
    with started(scenario, folder) as program:
        while program.code is None:
            times += [time.monotonic() - begun] * (program.units + 1 - len(times))
            assert times[-1] < LIMIT_S, log_of(folder)
            time.sleep(0.005)
        assert program.code == 0, log_of(folder)
        work = program.work()
    assert not (wrong := [*scenario.broken(folder), *scenario.litter(folder)]), wrong
    assert not (left := scenario.left(folder) or Work()).total(), left
    return Reference(scenario.outcome(folder), work, (*times, time.monotonic() - begun))


def strike(
    scenario: Scenario,
    folder: Path,
    undisturbed: Reference,
    rng: random.Random,
    patience: float = ALL_S,
) -> Strike | None:
    """Kill a program once, at a moment, in a process and by a signal of chance.

    Args:
        scenario: The program.
        folder: A new one.
        undisturbed: What the program does when nobody kills it.
        rng: Chance.
        patience: Seconds until all processes have to be gone.

    Returns:
        What came of it; None if the program had ended by then.
    """
    scenario.prepare(folder)
    moment = undisturbed.moment(rng)
    how, choice = rng.choice(SIGNALS), rng.random()
    with started(scenario, folder) as program:
        while program.code is None and program.units < moment.work:
            time.sleep(0.002)
        time.sleep(moment.seconds)
        roles = sorted(program.by_role().items())
        if program.code is not None or not roles:
            return None
        role, processes = roles[int(choice * len(roles))]
        how = signal.SIGKILL if role == SERVER_ROLE else how
        try:
            rng.choice(processes).send_signal(how)
        except psutil.NoSuchProcess:
            return None
        seconds = _until_all_are_gone(program, patience)
    first = program.work()
    lost, left = scenario.broken(folder), scenario.left(folder)
    second, problems = _start_again(scenario, folder)
    lost += problems
    if left is not None and not problems:
        lost += _differences("what was left to do", left, "what was done", second)
        if how in ASKING:
            all_done = _trainings(first + second)
            lost += _differences(
                "undisturbed", _trainings(undisturbed.work), "before and after", all_done
            )
    equal = not problems and scenario.outcome(folder) == undisturbed.outcome
    return Strike(scenario.name, role, how.name, seconds, tuple(lost), equal)


def _until_all_are_gone(program: Program, patience: float) -> float | None:
    begun = time.monotonic()
    while time.monotonic() - begun < patience:
        if not program.processes():
            return time.monotonic() - begun
        time.sleep(0.05)
    return None


def _start_again(scenario: Scenario, folder: Path) -> tuple[Work, list[str]]:
    """Run a program to its end; return what it did, and what is wrong then."""
    with started(scenario, folder) as program:
        begun = time.monotonic()
        while program.code is None and time.monotonic() - begun < LIMIT_S:
            time.sleep(0.02)
        done = program.work()
        if program.code != 0:
            said = log_of(folder)[-500:]
            return done, [f"started again, it ended with {program.code}: {said}"]
    return done, [*scenario.broken(folder), *scenario.litter(folder)]


def _trainings(work: Work) -> Work:
    """Return the steps of trainings, which a process saves when it is asked to stop."""
    return Work({TRAINING: work[TRAINING]})


def _differences(name: str, one: Work, other_name: str, other: Work) -> list[str]:
    return [] if one == other else [f"{name}: {dict(one)}, {other_name}: {dict(other)}"]


def log_of(folder: Path) -> str:
    return folder.with_name(f"{folder.name}.log").read_text(errors="replace")
