"""Folders that one process at a time may use; the other process of each test is a real one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from okml import locks
from okml.errors import BusyError
from okml.locks import held, holder

HOLD = """
import sys
from pathlib import Path
from okml import lifeline
from okml.locks import held
if len(sys.argv) > 2:
    lifeline._followed = int(sys.argv[2])
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that holds ``tmp_path`` until its input is closed."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(tmp_path), *arguments]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def test_a_second_process_is_told_who_is_there_and_what_to_do(tmp_path, hold):
    other = hold()
    with pytest.raises(BusyError) as caught, held(tmp_path):
        pass
    message, hint = caught.value.message, caught.value.hint
    assert f"process {other.pid} on {socket.gethostname()} since 20" in message
    assert str(tmp_path) in message
    assert f"`kill {other.pid}`" in hint
    assert "--wait" in hint
    assert "okml status" in hint
    found = holder(tmp_path)
    assert found is not None
    assert found.pid == other.pid


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_goes_with_its_process(tmp_path, hold, how):
    other = hold()
    other.send_signal(how)
    other.wait()
    assert holder(tmp_path) is None
    with held(tmp_path):
        found = holder(tmp_path)
        assert found is not None
        assert found.pid == os.getpid()
    assert holder(tmp_path) is None


def test_who_wants_to_wait_is_told_for_whom_and_gets_the_folder(tmp_path, hold, monkeypatch):
    monkeypatch.setenv(locks.WAIT_VARIABLE, "1")
    other = hold()
    said = []

    def say(text: str) -> None:
        said.append(text)
        other.stdin.close()

    with held(tmp_path, say=say):
        assert other.wait() == 0
    (text,) = said
    assert f"process {other.pid}" in text


def test_a_run_whose_parent_was_killed_is_given_time_to_end(tmp_path, hold, monkeypatch):
    """The kernel of a killed command may be saving a training."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    other = hold(str(gone.pid))
    acquire = locks._acquire

    def until_then(lock, seconds):
        if seconds == locks.ENDING_S:
            other.stdin.close()
        return acquire(lock, seconds)

    monkeypatch.setattr(locks, "_acquire", until_then)
    with held(tmp_path):
        pass


def test_one_process_may_enter_twice_unless_it_asks_to_be_alone(tmp_path):
    mine = f"process {os.getpid()} "
    alone = held(tmp_path, patience=0, reentrant=False)
    with held(tmp_path), held(tmp_path), pytest.raises(BusyError, match=mine), alone:
        pass
    assert holder(tmp_path) is None


def test_files_of_one_folder_have_locks_of_their_own(tmp_path):
    with held(tmp_path, "a.lock"), held(tmp_path, "b.lock", reentrant=False):
        assert holder(tmp_path) is None
