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
from okml.runtime import GIB, peak_memory_gib, process_peak_gib
from okml.training import ahead
from okml.training.ahead import side_by_side, train_ahead, waves_of

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
    with pytest.raises(ValueError, match=r"no [bc]"):
        side_by_side(partial(Path, tmp_path), fail, (["b", "c"],), CPU)


def test_nothing_goes_ahead_on_one_core_or_on_a_gpu(tmp_path):
    with mock.patch.object(ahead, "usable_cores", return_value=1):
        side_by_side(partial(Path, tmp_path), write, (["a", "b"],), CPU)
    side_by_side(partial(Path, tmp_path), write, (["a", "b"],), torch.device("cuda"))
    assert not list(tmp_path.iterdir())


def hold(folder: Path, job: str) -> None:
    np.ones(int(0.3 * GIB / 8)).sum()


@pytest.mark.usefixtures("two_cores")
def test_the_peak_memory_of_a_run_counts_its_workers(tmp_path):
    side_by_side(partial(Path, tmp_path), write, (["a", "b"],), CPU)
    before = peak_memory_gib()
    side_by_side(partial(Path, tmp_path), hold, (["a", "b"],), CPU)
    assert before > process_peak_gib()  # the workers of the first call count
    assert 0.4 < peak_memory_gib() - before < 0.7


def end(folder: Path, job: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("two_cores")
def test_a_worker_that_was_killed_fails_the_run_with_what_to_do(tmp_path):
    with pytest.raises(TrainingError, match="ended from outside") as caught:
        side_by_side(partial(Path, tmp_path), end, (["a", "b"],), CPU)
    assert "okml plan" in caught.value.hint


class Ladders:
    """A study whose job ``a2`` starts from ``a1``, ``a1`` from ``a0``, and ``a0`` from none."""

    def __init__(self, profile: object, run_dir: Path) -> None:
        self.profile, self.run_dir, self.device = profile, run_dir, CPU

    def needs(self, job: str) -> tuple[str, ...]:
        return () if job[1] == "0" else (f"{job[0]}{int(job[1]) - 1}",)

    def train(self, job: str) -> None:
        assert all((self.run_dir / need).exists() for need in self.needs(job))
        with (self.run_dir / job).open("a") as file:
            file.write("trained ")


def test_what_jobs_start_from_goes_before_them_and_once(tmp_path):
    waves = waves_of(Ladders(None, tmp_path), ["a2", "b1", "a1", "a2"])
    assert waves == [["a0", "b0"], ["a1", "b1"], ["a2"]]
    assert waves_of(Ladders(None, tmp_path), []) == []


@pytest.mark.usefixtures("two_cores")
def test_a_study_trains_its_jobs_and_all_that_they_start_from(tmp_path):
    train_ahead(Ladders(None, tmp_path), ["a2", "b1", "a1"])
    trained = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert trained == dict.fromkeys(("a0", "b0", "a1", "b1", "a2"), "trained ")
