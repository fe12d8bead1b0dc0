"""A resumed run equals an uninterrupted one, and two processes compute what one does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from okml.training import load_weights
from tests.offline_rl.programs import train

KINDS = ("crr", "crr_target", "sqn", "weighted")


def assert_same(folder, expected, tolerance=0.0):
    found, wanted = load_weights(folder), load_weights(expected)
    assert found.keys() == wanted.keys()
    for module, weights in wanted.items():
        for name, value in weights.items():
            torch.testing.assert_close(found[module][name], value, atol=tolerance, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_equals_an_uninterrupted_one(kind, tmp_path):
    train(kind, tmp_path / "whole", dropout=0.2)
    train(kind, tmp_path / "parts", dropout=0.2, max_steps=4)
    train(kind, tmp_path / "parts", dropout=0.2)
    assert_same(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_give_the_result_of_one(kind, tmp_path):
    train(kind, tmp_path / "alone", gradient_accumulation=2)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
               "2", "-m", "tests.offline_rl.programs", kind, str(tmp_path / "two")]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "two", tmp_path / "alone", tolerance=1e-5)
