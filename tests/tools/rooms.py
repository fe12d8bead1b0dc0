"""A plugin of pytest that says when the tests of a room start and end: `-p tests.tools.rooms`.

A room is a folder of tests, such as those of a chapter, or a notebook. Failures are named as they
happen; what passes gets no dot. Beside the seconds stand those of a processor, which other work on
the machine hardly changes; `--dearest 50` names the tests and the files that took most of them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterable
from pathlib import PurePosixPath

import psutil
import pytest

LONG_S = 0.5  # of a phase after which other processes are looked at, for all since the last look


def room_of(test: str) -> str:
    """Return the room of a test by its name, such as ``tests/add/test_task.py::test_it[1]``."""
    file = PurePosixPath(test.split("::")[0])
    return str(file) if file.suffix == ".ipynb" else "/".join(file.parts[:-1][:2])


class Processor:
    """Writes into each report the processor seconds of the phase, other processes included."""

    def pytest_collection_finish(self) -> None:
        """Start to count when all is imported, which is no room's work."""
        self._own, self._all, self._counted = time.process_time(), tree_seconds(), 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        report.processor = self._since_then(look=call.duration > LONG_S)
        return report

    def _since_then(self, look: bool) -> float:
        """Return the seconds since the last call, of all processes if one is to look at them."""
        own = time.process_time()
        spent, self._own = own - self._own, own
        if look:  # takes milliseconds
            everything = tree_seconds()
            spent = max(spent, everything - self._all - self._counted)
            self._all, self._counted = everything, 0.0
        else:
            self._counted += spent
        return spent


def tree_seconds() -> float:
    """Return the processor seconds of this process, of those it started, and of ended ones."""
    here = psutil.Process()
    total = 0.0
    for process in (here, *here.children(recursive=True)):
        try:
            total += sum(process.cpu_times()[:4])  # user, system, and those of ended children
        except psutil.NoSuchProcess:
            continue
    return total


class Rooms:
    """Counts what is left in each room."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager
        self._dearest: int = config.option.dearest
        self._costs: dict[str, Counter[str]] = {"files": Counter(), "tests": Counter()}
        self._tests: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()
        self._processor: Counter[str] = Counter()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Iterable[str]) -> None:
        self._expect(ids)  # each worker has all of them

    def _expect(self, tests: Iterable[str]) -> None:
        self._tests = Counter(map(room_of, tests))
        self._left = self._tests.copy()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        room = room_of(report.nodeid)
        if room not in self._seconds:
            self._say(f"{room} starts")
        self._seconds[room] += report.duration
        spent = getattr(report, "processor", 0.0)  # none of a crash
        self._processor[room] += spent
        self._costs["files"][report.nodeid.split("::")[0]] += spent
        self._costs["tests"][report.nodeid] += spent
        if report.failed:
            self._say(f"{report.nodeid} failed")
        if report.when == "teardown":
            self._left[room] -= 1
            if self._left[room] == 0:
                seconds = f"{self._seconds[room]:.1f} s, {self._processor[room]:.1f} of a processor"
                self._say(f"{room} ends: {self._tests[room]} tests, {seconds}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the dearest; what a fixture took counts for the test that asked for it first."""
        for what, costs in self._costs.items() if self._dearest else ():
            terminalreporter.write_line(f"{sum(costs.values()):8.1f} s of a processor, all {what}")
            for name, cost in costs.most_common(self._dearest):
                terminalreporter.write_line(f"{cost:8.1f} s  {name}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        if hasattr(report, "wasxfail") or (report.passed and report.when != "call"):
            return None
        broken = report.failed and report.when != "call"  # in a fixture
        outcome = "error" if broken else report.outcome
        return outcome, "", outcome.upper()

    def _say(self, text: str) -> None:
        terminal = self._plugins.getplugin("terminalreporter")
        terminal.write_line(f"{time.strftime('%H:%M:%S')}  {text}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--dearest", type=int, default=0, metavar="N", help="name what costs most")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Processor())
    if not hasattr(config, "workerinput"):  # of xdist, where the first process prints
        config.pluginmanager.register(Rooms(config))
