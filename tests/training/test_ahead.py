"""Jobs in worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from okml.accelerator import pick_device, take_card
from okml.errors import ParameterError, TrainingError
from okml.runtime import GIB, peak_memory_gib, process_peak_gib
from okml.training import ahead, fit, load_weights
from okml.training.ahead import in_order, train_ahead, with_needs
from tests.processes import run
from tests.training.tasks import BASE, ActorCritic, Noisy

CPU = torch.device("cpu")
TWO = [CPU, CPU]


class Ladders:
    """A study whose job ``a2`` starts from ``a1``, ``a1`` from ``a0``, and ``a0`` from none."""

    def __init__(self, profile: object, run_dir: Path) -> None:
        self.profile, self.run_dir, self.device = profile, run_dir, CPU

    def needs(self, job: str) -> tuple[str, ...]:
        return () if job[1] == "0" else (f"{job[0]}{int(job[1]) - 1}",)

    def train(self, job: str) -> None:
        """Append who did the job, and with how many threads."""
        assert all((self.run_dir / need).exists() for need in self.needs(job))
        np.ones((2, 2)) @ np.ones((2, 2))  # so that there is a BLAS
        pools = [pool["num_threads"] for pool in threadpool_info()]
        with (self.run_dir / job).open("a") as file:
            file.write(f"{os.getpid()} {max([torch.get_num_threads(), *pools])}\n")


def test_what_jobs_start_from_goes_before_them_and_once(tmp_path):
    graph = with_needs(Ladders(None, tmp_path), ["a2", "b1", "a1", "a2"])
    needs = {"a0": [], "a1": ["a0"], "a2": ["a1"], "b0": [], "b1": ["b0"]}
    assert graph == needs
    assert list(graph) == list(needs)
    assert with_needs(Ladders(None, tmp_path), []) == {}


class Hands:
    """Runs jobs by hand: a test says which one ends."""

    def __init__(self) -> None:
        self.running: dict[str, Future[str]] = {}

    def submit(self, job: str) -> Future[str]:
        self.running[job] = Future()
        return self.running[job]

    def end(self, job: str) -> None:
        self.running.pop(job).set_result(job)


def test_a_job_starts_once_its_own_needs_are_done_and_a_worker_is_free():
    graph = {"a0": [], "a1": ["a0"], "b0": [], "b1": ["b0"], "c": []}
    hands = Hands()
    yielded = in_order(graph, hands.submit, 2)
    ended = []
    with mock.patch.object(ahead, "wait", side_effect=lambda futures, **_: done(futures)):

        def done(futures: dict[Future[str], str]) -> mock.Mock:
            assert sorted(futures.values()) == sorted(hands.running)
            started.append(sorted(hands.running))
            hands.end(("a0", "a1", "b0", "c", "b1")[len(ended)])
            return mock.Mock(done=[future for future in futures if future.done()])

        started: list[list[str]] = []
        for job in yielded:
            ended.append(job)
    # a1 does not wait for b0, which started beside a0; c waits for a worker, not for any job.
    assert started == [["a0", "b0"], ["a1", "b0"], ["b0", "c"], ["b1", "c"], ["b1"]]


@pytest.mark.parametrize("places", [None, TWO])
def test_a_study_trains_each_job_once_on_a_core_of_its_own(tmp_path, places):
    with mock.patch.object(ahead, "usable_cores", return_value=2):
        train_ahead(Ladders(None, tmp_path), ["a2", "b1", "a1"], places)
    trained = {path.name: path.read_text().splitlines() for path in tmp_path.iterdir()}
    assert sorted(trained) == ["a0", "a1", "a2", "b0", "b1"]
    assert {len(lines) for lines in trained.values()} == {1}
    workers, threads = zip(*(line.split() for (line,) in trained.values()), strict=True)
    assert str(os.getpid()) not in workers
    assert set(threads) == {"1"}


@pytest.mark.parametrize(("places", "jobs"), [([CPU], ["a0", "b0"]), (TWO, ["a0"]), (TWO, [])])
def test_nothing_goes_ahead_where_a_worker_would_be_alone(tmp_path, places, jobs):
    train_ahead(Ladders(None, tmp_path), jobs, places)
    assert not list(tmp_path.iterdir())


class Failing(Ladders):
    def train(self, job: str) -> None:
        raise ValueError(f"no {job}")


def test_a_job_that_fails_fails_the_run(tmp_path):
    with pytest.raises(ValueError, match=r"no [ab]0"):
        train_ahead(Failing(None, tmp_path), ["a0", "b0"], TWO)


class Closed(Ladders):
    def __init__(self, profile: int, run_dir: Path) -> None:
        super().__init__(profile, run_dir)
        if os.getpid() != profile:
            raise ParameterError("There is no way in.")


def test_a_study_that_cannot_be_opened_fails_the_run_with_its_own_error(tmp_path):
    with pytest.raises(ParameterError, match="no way in"):
        train_ahead(Closed(os.getpid(), tmp_path), ["a0", "b0"], TWO)


class Holding(Ladders):
    """Two jobs that hold as much as the profile says, each in a worker of its own."""

    def train(self, job: str) -> None:
        (self.run_dir / job).touch()
        while len(list(self.run_dir.iterdir())) < 2:
            time.sleep(0.01)
        np.ones(int(self.profile * GIB / 8)).sum()


def test_the_peak_memory_of_a_run_counts_its_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("okml.runtime._with_workers", 0.0)  # forget those of earlier tests
    peaks = []
    for number, held in enumerate((0.01, 0.3)):
        (tmp_path / str(number)).mkdir()
        train_ahead(Holding(held, tmp_path / str(number)), ["a0", "b0"], TWO)
        peaks.append(peak_memory_gib())
    assert peaks[0] > process_peak_gib()  # the workers of the first call count
    assert 0.4 < peaks[1] - peaks[0] < 0.7


class Trainings(Ladders):
    """Trainings of a few steps; where a file ``kill`` is, one is killed amid its third epoch."""

    def needs(self, job: str) -> tuple[str, ...]:
        return ()

    def train(self, job: str) -> None:
        task = ActorCritic()
        if job == "b" and (self.run_dir / "kill").exists():
            (self.run_dir / "kill").unlink()
            task.kill_at_step, task.signal = 14, signal.SIGKILL
        fit(task, Noisy(), BASE.model_copy(update={"device": "cpu"}), self.run_dir / job)


def check_that_a_kill_costs_nothing(folder, *places):
    """Kill a worker amid a training, train again, and compare with trainings one by one."""
    killed, alone = (Trainings(None, folder / name) for name in ("killed", "alone"))
    killed.run_dir.mkdir()
    (killed.run_dir / "kill").touch()
    with pytest.raises(TrainingError, match="ended from outside") as caught:
        train_ahead(killed, ["a", "b", "c"], *places)
    assert "okml plan" in caught.value.hint
    assert max((killed.run_dir / "b" / "checkpoints").iterdir()).name == "step_00000012"
    train_ahead(killed, ["a", "b", "c"], *places)
    for job in ("a", "b", "c"):
        alone.train(job)
        found = load_weights(killed.run_dir / job)
        for module, weights in load_weights(alone.run_dir / job).items():
            for name, value in weights.items():
                assert torch.equal(found[module][name], value), (job, module, name)


def test_a_worker_that_is_killed_fails_the_run_and_the_next_run_ends_as_if_it_had_not(tmp_path):
    check_that_a_kill_costs_nothing(tmp_path, TWO)


class SlowToArrive:
    """A profile that the second process which unpickles it gets only after a while."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return arrive, (self.folder,)


def arrive(folder: Path) -> SlowToArrive:
    try:
        (folder / "first").touch(exist_ok=False)
    except FileExistsError:
        time.sleep(3)
    return SlowToArrive(folder)


class Noted(Failing):
    def __init__(self, profile: SlowToArrive, run_dir: Path) -> None:
        super().__init__(profile, run_dir)
        (profile.folder / f"opened by {os.getpid()}").touch()


def test_a_worker_that_is_not_ready_yet_ends_with_the_others(tmp_path):
    """It hears SIGTERM from its first moment on, although the server that it comes from ignores it.

    One that did not would open the study of a run that has ended.
    """
    with pytest.raises(ValueError, match=r"no [ab]0"):
        train_ahead(Noted(SlowToArrive(tmp_path), tmp_path), ["a0", "b0"], TWO)
    assert len(list(tmp_path.glob("opened by *"))) == 2  # this process and the first worker


@pytest.mark.slow
def test_each_card_has_a_worker_and_the_trainings_are_those_of_a_cpu(tmp_path):
    done = run("tests.training.cards", tmp_path)
    assert done.returncode == 0, done.stderr
    first = {job: next(tmp_path.glob(f"{job} on *")).name[-1] for job in "ab"}
    assert sorted(first.values()) == ["0", "1"]
    alone = tmp_path / "alone"
    fit(ActorCritic(dropout=0.0), Noisy(), BASE.model_copy(update={"device": "cpu"}), alone)
    for job in "abc":
        found = load_weights(tmp_path / job)
        for module, weights in load_weights(alone).items():
            for name, value in weights.items():
                torch.testing.assert_close(found[module][name], value, atol=1e-6, rtol=0)


@pytest.fixture
def seen() -> Iterator[dict[str, str]]:
    with mock.patch.dict(os.environ):
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        yield os.environ


@pytest.mark.parametrize(
    ("before", "card", "after"),
    [(None, "cuda:2", "2"), ("4,6,GPU-8f2a", "cuda:2", "GPU-8f2a"), ("4,6", "cuda", "4,6")],
)
def test_a_worker_sees_its_own_card_alone(seen, before, card, after):
    if before is not None:
        seen["CUDA_VISIBLE_DEVICES"] = before
    take_card(torch.device(card))
    assert seen["CUDA_VISIBLE_DEVICES"] == after


def test_each_process_of_a_launcher_has_its_card_before_anything_is_built():
    taken = []
    with (
        mock.patch.dict(os.environ, {"LOCAL_RANK": "3"}),
        mock.patch.multiple(
            torch.accelerator,
            current_accelerator=lambda **_: torch.device("cuda"),
            device_count=lambda: 2,  # the launcher shows each process two of the cards
            set_device_index=taken.append,
        ),
    ):
        assert pick_device("cpu") == CPU
        assert taken == []
        assert pick_device("auto") == torch.device("cuda")
    assert taken == [1]


@pytest.mark.parametrize("stated", ["0", "two", "-1", ""])
def test_a_senseless_number_of_trainings_of_a_card_is_refused(stated):
    with (
        mock.patch.dict(os.environ, {ahead.PER_CARD_VARIABLE: stated}),
        pytest.raises(ParameterError, match="OKML_PER_CARD"),
    ):
        ahead.workers_of_a_card()
