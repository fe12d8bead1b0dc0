"""Two processes on a CPU compute what one computes; FSDP's shards compute what the whole does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import polars as pl
import pytest
import torch

from okml.training import fit, load_weights
from tests.add.tiny import FAKES, RUN, examples, size_of, task
from tests.processes import launch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that trains the same micro-batches in one process."""

    @cache
    def trained(fakes: str) -> Path:
        folder = tmp_path_factory.mktemp(fakes)
        run = RUN.model_copy(update={"gradient_accumulation": 2})
        fit(task(evaluate=size_of, **FAKES[fakes]), examples(), run, folder)
        return folder

    return trained


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trainings of two processes, with one kind of fakes after the other."""
    folder = tmp_path_factory.mktemp("two")
    done = launch("tests.add.tiny", folder, "--fakes", *FAKES)
    assert done.returncode == 0, done.stderr
    return folder


def assert_close(folder: Path, expected: Path) -> None:
    found, wanted = load_weights(folder), load_weights(expected)
    assert found.keys() == wanted.keys()
    assert {"student", "heads", "ema.student"} <= wanted.keys()
    for module, weights in wanted.items():
        for name, value in weights.items():
            torch.testing.assert_close(found[module][name], value, atol=2e-5, rtol=1e-4)
    rows, wanted_rows = (
        pl.read_ndjson(path / "metrics.jsonl", infer_schema_length=None)
        for path in (folder, expected)
    )
    trained = ("student/loss", "heads/loss", "heads/r1", "student/gradient_norm")
    for column in (*trained, "size", "ema/size"):
        largest = wanted_rows[column].abs().max()
        difference = (rows[column] - wanted_rows[column]).abs().max()
        assert difference <= 1e-3 * max(1.0, largest), column


@pytest.mark.parametrize("fakes", FAKES)
def test_two_processes_give_the_result_of_one(
    fakes: str, by_two: Path, alone: Callable[[str], Path]
) -> None:
    assert_close(by_two / fakes, alone(fakes))


@pytest.mark.nightly
def test_two_processes_that_resume_after_a_kill_give_the_result_of_one(
    tmp_path: Path, alone: Callable[[str], Path]
) -> None:
    program = ("tests.add.tiny", tmp_path, "--checkpoint-every", "2")
    killed = launch(*program, "--kill-at-step", "5")
    assert killed.returncode != 0
    done = launch(*program)
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path / "of_each_phase", alone("of_each_phase"))


def test_a_sharded_student_trains_and_resumes_after_a_kill(
    tmp_path: Path, alone: Callable[[str], Path]
) -> None:
    """FSDP2 through the loop: weights and their averages are those of a whole student."""
    program = ("tests.add.tiny", tmp_path, "--shard", "--checkpoint-every", "2")
    killed = launch(*program, "--kill-at-step", "5")
    assert killed.returncode != 0
    run = tmp_path / "of_each_phase"
    assert (run / "checkpoints" / "step_00000004").is_dir(), killed.stderr
    done = launch(*program)
    assert done.returncode == 0, done.stderr
    assert_close(run, alone("of_each_phase"))


def test_shards_compute_what_the_whole_does(tmp_path: Path) -> None:
    """FSDP2 over the student's blocks: both losses and the gathered gradients, in both precisions.

    In bfloat16 a whole student casts its weights at each use; shards travel in that type.
    """
    done = launch("tests.add.shard", str(tmp_path))
    assert done.returncode == 0, done.stderr
    saved = torch.load(tmp_path / "compared.pt", weights_only=True)
    bounds = {"no": (1e-4, 1e-3, "torch.float32"), "bf16": (2e-2, 5e-2, "torch.bfloat16")}
    assert saved.keys() == bounds.keys()
    for precision, (loss, gradient, kind) in bounds.items():
        found = saved[precision]
        assert found["types"] == [kind]
        assert found["losses"].keys() == {"heads", "student"}
        for name, (sharded, whole) in found["losses"].items():
            assert sharded == pytest.approx(whole, rel=loss), (precision, name)
        assert len(found["gradients"]) > 20
        sharded, whole = (
            torch.cat([pair[side].flatten() for pair in found["gradients"].values()])
            for side in (0, 1)
        )
        assert sharded.dtype == torch.float32
        assert (sharded - whole).norm() < gradient * whole.norm()
