"""What tests of a device share, and the fixtures of those that run here with a bug put in."""

from importlib import import_module

import pytest

from tests.device import NAME
from tests.space_time.conftest import llama, prompts, tiny_folder  # noqa: F401
from tests.training.test_resume import uninterrupted  # noqa: F401


@pytest.fixture
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second device draw the numbers of the CPU; a real GPU draws its own."""
    if NAME == "second":
        device = import_module("tests.second_device.device")
        monkeypatch.setattr(device.random, "shared", True)
