"""Kernels that start warm are like those that start cold."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import start_new_kernel
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from okml import kernels

ORPHAN = """
import time
from jupyter_client.manager import start_new_kernel
from okml import kernels

if __name__ == "__main__":
    kernels.LIBRARIES = ()  # none is needed here
    kernels.start_warm()
    manager, client = start_new_kernel(kernel_name="python3")
    print(manager.provisioner.pid, flush=True)
    time.sleep(60)
"""
FACTS = """
import os, sys
loaded = "torch" in sys.modules
import matplotlib, torch
dict(
    loaded=loaded, folder=os.getcwd(), first=os.environ.get("FIRST"),
    second=os.environ.get("SECOND"), threads=torch.get_num_threads(),
    backend=matplotlib.get_backend(), main=sys.modules[__name__].__name__,
    leads_its_group=os.getpgid(0) == os.getpid(),
)
"""


def facts(folder: Path) -> dict[str, object]:
    """Return what a fresh kernel finds around it."""
    shown = []
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(folder))
    try:
        client.execute_interactive(FACTS, timeout=60, output_hook=shown.append)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    (result,) = [message["content"] for message in shown if message["msg_type"] == "execute_result"]
    return ast.literal_eval(result["data"]["text/plain"])


def three_kernels(folder: Path) -> tuple[dict[str, object], ...]:
    """Return the facts of two warm kernels and a cold one with the environment of the second."""
    factory = KernelProvisionerFactory.instance()
    kernels.start_warm()
    os.environ |= {"FIRST": "asks the server", "OMP_NUM_THREADS": "2"}
    first = facts(folder / "..")
    del os.environ["FIRST"]
    os.environ |= {"SECOND": "asks it, too", "OMP_NUM_THREADS": "1"}
    second = facts(folder)
    factory.default_provisioner_name = "local-provisioner"
    return first, second, facts(folder)


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kernels start cold")
def test_a_warm_kernel_finds_what_a_cold_one_does_but_libraries_that_are_loaded(
    tmp_path: Path,
) -> None:
    # A program of its own: workers of earlier tests share this one's server, with their libraries.
    code = (
        f"import pathlib, {__name__} as t; print(t.three_kernels(pathlib.Path({str(tmp_path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    first, warm, cold = ast.literal_eval(done.stdout.decode())
    assert first["first"] == "asks the server"
    assert warm == {**cold, "loaded": True}
    assert not cold["loaded"]
    assert warm["folder"] == str(tmp_path)
    assert (warm["first"], warm["second"], warm["threads"]) == (None, "asks it, too", 1)


def test_a_kernel_ends_with_a_program_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        kernel = psutil.Process(int(program.stdout.readline()))
        assert kernel.is_running()
        program.kill()
    kernel.wait(timeout=10)
