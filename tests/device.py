"""Where the tests compute that run on any device.

``OKML_TEST_DEVICE=second pytest tests/training`` runs them on the second device, with the tests
marked gpu; ``OKML_TEST_DEVICE=auto`` runs them on the accelerator of this machine.
"""

from __future__ import annotations

import os

import pytest

from okml.accelerator import has_flex_attention, pick_device
from okml.settings import DeviceName

NAME = os.environ.get("OKML_TEST_DEVICE", "cpu")
if NAME == "second":
    from tests.second_device import device as second_device  # noqa: F401 - it registers itself

DEVICE: DeviceName = "cpu" if NAME == "cpu" else "auto"  # the setting of tests for any device
HERE = pick_device(DEVICE)
GPU = pick_device("auto")  # the device of tests marked gpu, which are skipped if it is the CPU
needs_kernels = pytest.mark.skipif(
    not has_flex_attention(GPU), reason="needs a compiler for the accelerator"
)
