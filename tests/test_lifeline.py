"""Trees of processes: whichever ends, all end, and none before its training is saved."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from okml.lifeline import WorkerPool
from tests.processes import ROOT

ALL_S = 10  # in which a whole tree ends
LIGHT = os.pathsep.join([str(ROOT / "tests/survival/light"), os.environ.get("PYTHONPATH", "")])
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a program of ``tests.survival.tree``; return when its processes say they are there."""
    started = []

    def begin(role: str, *names: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.survival.tree", role, str(tmp_path)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": LIGHT},
            text=True,
            start_new_session=True,
            **{"stderr": subprocess.PIPE, **options},
        )
        started.append(process)
        while not all((tmp_path / f"{name}.pid").exists() for name in ("root", *names)):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def send(folder: Path, name: str, how: signal.Signals) -> None:
    os.kill(int((folder / f"{name}.pid").read_text()), how)


def nobody_left(folder: Path) -> bool:
    pids = [int(path.read_text()) for path in folder.glob("*.pid")]
    left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return not psutil.wait_procs(left, timeout=ALL_S)[1]


def assert_it_runs_on(root: subprocess.Popen[str], folder: Path) -> None:
    """Assert that a program has not heard a signal, and end it."""
    with pytest.raises(subprocess.TimeoutExpired):
        root.wait(timeout=1)
    assert notes(folder) == []
    root.terminate()
    root.wait(ALL_S)
    assert nobody_left(folder)


def notes(folder: Path) -> list[str]:
    path = folder / "notes"
    return sorted(path.read_text().splitlines()) if path.exists() else []


@pytest.mark.parametrize("how", [*STOPS, signal.SIGKILL])
def test_workers_save_and_end_when_the_command_does(tmp_path, start, how):
    root = start("side_by_side", "trainer", "sleeper")
    root.send_signal(how)
    root.wait(ALL_S)
    if how != signal.SIGKILL:
        assert notes(tmp_path) == ["trainer saved"]  # before the command ended
    assert nobody_left(tmp_path)
    assert notes(tmp_path) == ["trainer saved"]
    assert (
        root.returncode
        == {
            signal.SIGINT: -signal.SIGINT,  # Python ends so after a KeyboardInterrupt
            signal.SIGTERM: 128 + signal.SIGTERM,
            signal.SIGHUP: 128 + signal.SIGHUP,
            signal.SIGKILL: -signal.SIGKILL,
        }[how]
    )


@pytest.mark.parametrize(
    ("who", "how", "noted"),
    [
        ("trainer", signal.SIGTERM, ["trainer saved"]),
        ("trainer", signal.SIGKILL, []),
        ("sleeper", signal.SIGTERM, ["trainer saved"]),
        ("sleeper", signal.SIGKILL, ["trainer saved"]),
    ],
)
def test_the_command_and_other_workers_end_when_a_worker_does(tmp_path, start, who, how, noted):
    root = start("side_by_side", "trainer", "sleeper")
    send(tmp_path, who, how)
    _, said = root.communicate(timeout=ALL_S)
    assert nobody_left(tmp_path)
    assert root.returncode == 1
    assert "BrokenProcessPool" in said
    assert notes(tmp_path) == noted


def test_a_worker_has_the_environment_of_who_asked_for_it(monkeypatch):
    """Not that of the server, which was started for an earlier pool."""
    seen = []
    for value in ("before", "after"):
        monkeypatch.setenv("OKML_SEEN_BY_WORKERS", value)
        with WorkerPool(1, int) as pool:
            seen.append(pool.submit(os.getenv, "OKML_SEEN_BY_WORKERS").result())
    assert seen == ["before", "after"]


KERNEL = ("kernel", "trainer", "other")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("who", ["root", "kernel"])
def test_a_kernel_in_a_session_of_its_own_saves_and_ends_too(tmp_path, start, who, how):
    root = start("command", *KERNEL)
    send(tmp_path, who, how)
    root.wait(ALL_S)
    assert nobody_left(tmp_path)
    assert notes(tmp_path) == ["other saved", "trainer saved"]


def test_all_processes_may_get_the_signal_at_once(tmp_path, start):
    """As from a service manager or a scheduler; among them those that have forked others."""
    root = start("command", *KERNEL)
    pids = [int((tmp_path / f"{name}.pid").read_text()) for name in ("root", *KERNEL)]
    for group in {os.getpgid(pid) for pid in pids}:
        os.killpg(group, signal.SIGTERM)
    root.wait(ALL_S)
    assert root.returncode == 128 + signal.SIGTERM
    assert nobody_left(tmp_path)
    assert notes(tmp_path) == ["other saved", "trainer saved"]


@pytest.mark.parametrize(
    ("role", "noted"), [("stubborn", ["heard"]), ("busy_writer", ["heard", "written"])]
)
def test_who_does_not_leave_is_ended_but_not_amid_writing(tmp_path, start, role, noted):
    root = start(role)
    root.terminate()
    root.wait(ALL_S)
    assert root.returncode == 128 + signal.SIGTERM
    assert notes(tmp_path) == noted


def test_a_hangup_behind_nohup_is_not_heard(tmp_path, start):
    root = start("behind_nohup", "trainer", "sleeper")
    for name in ("root", "trainer", "sleeper"):
        send(tmp_path, name, signal.SIGHUP)
    assert_it_runs_on(root, tmp_path)


@pytest.fixture
def terminal(start) -> Callable[[str], tuple[subprocess.Popen[str], int]]:
    """Start a program in a terminal of its own, as a window has one."""

    def begin(role: str) -> tuple[subprocess.Popen[str], int]:
        window, inside = pty.openpty()
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), inside)
        root = start(
            role, "trainer", "sleeper", **streams,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(inside)
        return root, window

    return begin


def test_closing_the_terminal_saves_and_ends(tmp_path, terminal):
    root, window = terminal("side_by_side")
    os.close(window)  # the system sends SIGHUP to all that run in the foreground
    assert root.wait(ALL_S) == 128 + signal.SIGHUP
    assert nobody_left(tmp_path)
    assert notes(tmp_path) == ["trainer saved"]


def test_what_runs_behind_nohup_outlives_its_terminal(tmp_path, terminal):
    root, window = terminal("behind_nohup")
    os.close(window)
    assert_it_runs_on(root, tmp_path)


def test_control_c_in_a_terminal_saves_and_ends(tmp_path, terminal):
    root, window = terminal("side_by_side")
    os.write(window, b"\x03")
    assert root.wait(ALL_S) == -signal.SIGINT
    assert nobody_left(tmp_path)
    assert notes(tmp_path) == ["trainer saved"]
    os.close(window)


@pytest.mark.skipif(sys.platform != "linux", reason="the system's signal at a parent's death")
def test_programs_of_others_end_with_their_parent(tmp_path, start):
    start("with_foreign_program", "program").kill()
    assert nobody_left(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent is found in /proc")
@pytest.mark.parametrize(("launcher", "ends"), [("torchrun", True), ("run.sh", False)])
def test_what_a_launcher_started_ends_with_it_and_not_with_a_shell(tmp_path, launcher, ends):
    script = tmp_path / launcher
    script.write_text(f"{sys.executable} -m tests.survival.tree follower {tmp_path}\ntrue\n")
    with subprocess.Popen(
        ["/bin/sh", str(script)], cwd=ROOT, env=os.environ | {"PYTHONPATH": LIGHT}
    ) as shell:
        while not (tmp_path / "follower.pid").exists():
            assert shell.poll() is None
            time.sleep(0.02)
        shell.kill()
    if not ends:
        time.sleep(2)
        send(tmp_path, "follower", signal.SIGKILL)  # it is there
    assert nobody_left(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent is found in /proc")
def test_what_a_launcher_started_ends_if_the_launcher_is_gone_before_it_looks(tmp_path):
    program = f"{sys.executable} -m tests.survival.tree late_follower {tmp_path}"
    environment = {**os.environ, "PYTHONPATH": LIGHT, "TORCHELASTIC_RUN_ID": "none"}
    with subprocess.Popen(
        ["/bin/sh", "-c", f"{program}\ntrue"], cwd=ROOT, env=environment
    ) as shell:
        while not (tmp_path / "follower.pid").exists():
            assert shell.poll() is None
            time.sleep(0.02)
        shell.kill()
    assert nobody_left(tmp_path)
    assert notes(tmp_path) == []
