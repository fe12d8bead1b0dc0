"""A plugin of pytest that says when the tests of a room start and end: `-p tests.tools.rooms`.

A room is a folder of tests, such as those of a chapter, or a notebook. Failures are named as they
happen; what passes gets no dot.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

import pytest


def room_of(test: str) -> str:
    """Return the room of a test by its name, such as ``tests/add/test_task.py::test_it[1]``."""
    file = PurePosixPath(test.split("::")[0])
    return str(file) if file.suffix == ".ipynb" else "/".join(file.parts[:-1][:2])


class Rooms:
    """Counts what is left in each room."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager
        self._tests: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()

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
        if report.failed:
            self._say(f"{report.nodeid} failed")
        if report.when == "teardown":
            self._left[room] -= 1
            if self._left[room] == 0:
                count, seconds = self._tests[room], self._seconds[room]
                self._say(f"{room} ends: {count} tests, {seconds:.1f} s")

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


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # of xdist, where the first process prints
        config.pluginmanager.register(Rooms(config))
