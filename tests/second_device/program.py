"""Programs that run with another device for tests."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.tools.nearest import ROOT

LIMIT_S = 1800  # that only a program which hangs reaches, however busy the machine


def run(device: str, *command: str) -> str:
    """Run Python with another device for tests; return what it printed."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT, env=os.environ | {"OKML_TEST_DEVICE": device, "TQDM_DISABLE": "1"},
        capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout
