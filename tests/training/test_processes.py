"""Two processes on a CPU compute what one computes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from okml.training import fit, load_weights
from tests.processes import ROOT, launch
from tests.training.tasks import BASE, ActorCritic, Noisy


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the same global batches in one process, cut alike so that the noise is alike."""
    folder = tmp_path_factory.mktemp("alone")
    changes = {"device": "cpu", "gradient_accumulation": 2}
    fit(ActorCritic(dropout=0.0), Noisy(), BASE.model_copy(update=changes), folder)
    return folder


def assert_close(folder: Path, expected: Path) -> None:
    found, wanted = load_weights(folder), load_weights(expected)
    assert found.keys() == wanted.keys()
    for module, weights in wanted.items():
        for name, value in weights.items():
            torch.testing.assert_close(found[module][name], value, atol=1e-6, rtol=0)
    rows, wanted_rows = (
        pl.read_ndjson(path / "metrics.jsonl", infer_schema_length=None)
        for path in (folder, expected)
    )
    for column in ("critic/loss", "critic/gradient_norm", "error"):
        difference = (rows[column] - wanted_rows[column]).abs().max()
        assert isinstance(difference, float)
        assert difference < 1e-5


def test_two_processes_that_resume_after_a_kill_give_the_result_of_one(
    alone: Path, tmp_path: Path
) -> None:
    """Two networks in turn, frozen modules, clipping, averages and a short last batch."""
    program = ("tests.training.tasks", str(tmp_path), "--dropout", "0")
    killed = launch(*program, "--kill-at-step", "14")
    assert killed.returncode != 0
    assert (tmp_path / "checkpoints" / "step_00000012").is_dir()
    assert not (tmp_path / "checkpoints" / "step_00000023").exists()
    done = launch(*program)
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path, alone)
    # At steps 16, 20 and 23, of weights and averages, by the first process alone.
    assert [(tmp_path / f"evaluations{rank}").read_text() for rank in range(2)] == ["6", "0"]


@pytest.mark.nightly
def test_torchruns_processes_give_it_too(alone: Path, tmp_path: Path) -> None:
    """The launcher that users start, which the other tests stand in for."""
    program = ["-m", "tests.training.tasks", str(tmp_path), "--dropout", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launcher, "--nproc-per-node", "2", *program],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path, alone)


def test_statistics_of_one_process_alone_are_refused(tmp_path: Path) -> None:
    done = launch("tests.training.tasks", str(tmp_path), "--batch-norm")
    assert done.returncode != 0
    assert "'critic' has a BatchNorm1d" in done.stderr
    assert "convert_sync_batchnorm" in done.stderr


def test_sharded_states_are_whole_and_come_back(tmp_path: Path) -> None:
    """FSDP2 on two CPU processes: the saved state is that of an unsharded twin."""
    done = launch("tests.training.shard", str(tmp_path))
    assert done.returncode == 0, done.stderr
    saved = torch.load(tmp_path / "sharded.pt", weights_only=True)
    twin = torch.load(tmp_path / "twin.pt", weights_only=True)
    assert saved["weights"].keys() == twin["weights"].keys()
    for name, value in twin["weights"].items():
        torch.testing.assert_close(saved["weights"][name], value)
    moments = saved["optimizer"]["state"]
    for name, value in twin["moments"].items():
        torch.testing.assert_close(moments[name]["exp_avg"], value)
