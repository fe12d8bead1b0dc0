"""Fixtures of the tests that are run here with a bug put in."""

from tests.space_time.conftest import llama, prompts, tiny_folder  # noqa: F401
from tests.training.test_resume import uninterrupted  # noqa: F401
