"""A resumed run equals an uninterrupted one, and two processes compute what one does."""

from __future__ import annotations

import pytest
import torch

from okml.training import load_weights
from tests.offline_rl.programs import train
from tests.processes import launch
from tests.waits import Waits

KINDS = ("crr", "crr_target", "sqn", "weighted")
# Each process deals the weights of its own part, so two of them do not compute what one does.
ALONE = (*KINDS, "crr_dealt")


def assert_same(found, wanted, tolerance=0.0):
    assert found.keys() == wanted.keys()
    for module, weights in wanted.items():
        for name, value in weights.items():
            torch.testing.assert_close(found[module][name], value, atol=tolerance, rtol=0)


def without_key_biases(weights):
    """Set to zero what has no gradient but rounding, which Adam scales up to steps of full size.

    A bias of the keys adds one number to all scores of a query, and softmax takes it away again.
    """
    for values in weights.values():
        for name, value in values.items():
            if name.endswith("c_attn.bias"):  # queries, keys and values, [3 d]
                value.tensor_split(3)[1].zero_()
    return weights


@pytest.mark.parametrize("kind", ALONE)
def test_a_resumed_run_equals_an_uninterrupted_one(kind, tmp_path):
    train(kind, tmp_path / "whole", dropout=0.2)
    train(kind, tmp_path / "parts", dropout=0.2, max_steps=4)
    train(kind, tmp_path / "parts", dropout=0.2)
    assert_same(load_weights(tmp_path / "parts"), load_weights(tmp_path / "whole"))


@pytest.mark.parametrize("kind", ALONE)
def test_a_training_waits_for_the_device_only_when_the_loop_reads_the_losses(kind, tmp_path):
    with Waits() as waits:
        train(kind, tmp_path)
    assert waits.seen == []


@pytest.fixture(scope="module")
def by_two(tmp_path_factory):
    """The trainings of two processes, one kind after the other."""
    folder = tmp_path_factory.mktemp("two")
    done = launch("tests.offline_rl.programs", folder, *KINDS)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_give_the_result_of_one(kind, by_two, tmp_path):
    train(kind, tmp_path, gradient_accumulation=2)
    two, alone = (without_key_biases(load_weights(folder)) for folder in (by_two / kind, tmp_path))
    assert_same(two, alone, tolerance=1e-5)
