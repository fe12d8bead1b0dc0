"""Jobs in worker processes."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from okml.errors import TrainingError
from okml.training import ahead
from okml.training.ahead import side_by_side

CPU = torch.device("cpu")


def write(folder: Path, job: str) -> None:
    """Note the job, who did it, and what was done before."""
    np.ones((2, 2)) @ np.ones((2, 2))  # so that there is a BLAS
    done = ",".join(sorted(path.name for path in folder.iterdir()))
    threads = max([torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())])
    (folder / job).write_text(f"{os.getpid()} {threads} {done}")


def fail(folder: Path, job: str) -> None:
    raise ValueError(f"no {job}")


@pytest.fixture
def two_cores():
    with mock.patch.object(ahead, "usable_cores", return_value=2):
        yield


@pytest.mark.usefixtures("two_cores")
def test_workers_do_one_wave_after_another_on_one_core_each(tmp_path):
    side_by_side(partial(Path, tmp_path), write, (["a", "b"], ["c"]), CPU)
    process, threads, done = (tmp_path / "c").read_text().split(" ")
    assert int(process) != os.getpid()
    assert threads == "1"
    assert done == "a,b"


@pytest.mark.usefixtures("two_cores")
def test_a_job_that_fails_fails_the_run(tmp_path):
    with pytest.raises(ValueError, match="no b"):
        side_by_side(partial(Path, tmp_path), fail, (["b", "c"],), CPU)


def test_nothing_goes_ahead_on_one_core_or_on_a_gpu(tmp_path):
    with mock.patch.object(ahead, "usable_cores", return_value=1):
        side_by_side(partial(Path, tmp_path), write, (["a", "b"],), CPU)
    side_by_side(partial(Path, tmp_path), write, (["a", "b"],), torch.device("cuda"))
    assert not list(tmp_path.iterdir())


def end(folder: Path, job: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("two_cores")
def test_a_worker_that_was_killed_fails_the_run_with_what_to_do(tmp_path):
    with pytest.raises(TrainingError, match="ended from outside") as caught:
        side_by_side(partial(Path, tmp_path), end, (["a", "b"],), CPU)
    assert "okml plan" in caught.value.hint
