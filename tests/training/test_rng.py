"""The states of the generators, by what they draw next."""

import random
from contextlib import suppress

import numpy as np
import torch

from okml.training.rng import random_state, restore_random_state, unchanged_random_state


def draw() -> tuple[float, float, float]:
    """Draw a number from each global generator."""
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002


def test_a_restored_state_draws_the_same_again_from_every_generator() -> None:
    state = random_state()
    first = [draw() for _ in range(3)]
    restore_random_state(state)
    assert [draw() for _ in range(3)] == first
    assert len({number for numbers in first for number in numbers}) == 9


def test_a_gaussian_that_numpy_keeps_for_later_is_part_of_the_state() -> None:
    np.random.randn()  # noqa: NPY002 - draws two and returns one
    state = random_state()
    kept = np.random.randn()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    restore_random_state(state)
    assert np.random.randn() == kept  # noqa: NPY002


def test_what_a_body_draws_is_undone_even_if_it_fails() -> None:
    state = random_state()
    expected = draw()
    restore_random_state(state)
    with suppress(ValueError), unchanged_random_state():
        draw()
        raise ValueError
    assert draw() == expected
