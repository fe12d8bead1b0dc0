"""Two processes on a CPU compute what one computes; FSDP's shards compute what the whole does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from okml.training import fit, load_weights
from tests.add.tiny import RUN, examples, task
from tests.processes import launch

pytestmark = pytest.mark.slow


# A normalization or a softmax behind these takes them out again. Their gradient is rounding, of
# which Adam makes whole steps.
INERT = (".convolution.bias", ".to_k.bias")


def alone(folder: Path, shared_fakes: bool, **changes: Any) -> Path:
    """Train the same micro-batches in one process."""
    run = RUN.model_copy(update={"gradient_accumulation": 2, **changes})
    fit(task(shared_fakes=shared_fakes), examples(), run, folder)
    return folder


def assert_close(folder: Path, expected: Path) -> None:
    found, wanted = load_weights(folder), load_weights(expected)
    assert found.keys() == wanted.keys()
    assert {"student", "heads"} <= wanted.keys()
    for module, weights in wanted.items():
        for name, value in weights.items():
            if name.endswith(INERT):
                continue
            torch.testing.assert_close(found[module][name], value, atol=2e-5, rtol=1e-4)
    rows, wanted_rows = (
        pl.read_ndjson(path / "metrics.jsonl", infer_schema_length=None)
        for path in (folder, expected)
    )
    for column in ("student/loss", "heads/loss", "heads/r1", "student/gradient_norm"):
        largest = wanted_rows[column].abs().max()
        difference = (rows[column] - wanted_rows[column]).abs().max()
        assert difference <= 1e-3 * max(1.0, largest), column


@pytest.mark.parametrize("options", [(), ("--shared-fakes",)], ids=["heads first", "shared fakes"])
def test_two_processes_give_the_result_of_one(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = launch("tests.add.tiny", str(tmp_path / "two"), *options)
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path / "two", alone(tmp_path / "one", bool(options)))


def test_two_processes_resume_after_a_kill(tmp_path: Path) -> None:
    program = ("tests.add.tiny", str(tmp_path / "two"), "--checkpoint-every", "2")
    killed = launch(*program, "--kill-at-step", "5")
    assert killed.returncode != 0
    done = launch(*program)
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path / "two", alone(tmp_path / "one", shared_fakes=False))


def test_a_sharded_student_trains_and_resumes_after_a_kill(tmp_path: Path) -> None:
    """FSDP2 through the loop: the weights are those of a whole student in one process."""
    program = ("tests.add.tiny", str(tmp_path / "two"), "--shard", "--checkpoint-every", "2")
    killed = launch(*program, "--kill-at-step", "5")
    assert killed.returncode != 0
    assert (tmp_path / "two" / "checkpoints" / "step_00000004").is_dir(), killed.stderr
    done = launch(*program)
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path / "two", alone(tmp_path / "one", shared_fakes=False, ema_decay=None))


def test_shards_compute_what_the_whole_does(tmp_path: Path) -> None:
    """FSDP2 over the student's blocks: both losses and the gathered gradients."""
    done = launch("tests.add.shard", str(tmp_path))
    assert done.returncode == 0, done.stderr
    saved = torch.load(tmp_path / "compared.pt", weights_only=True)
    assert saved["losses"].keys() == {"heads", "student"}
    for name, (sharded, whole) in saved["losses"].items():
        assert sharded == pytest.approx(whole, rel=1e-4), name
    assert len(saved["gradients"]) > 20
    for name, (sharded, whole) in saved["gradients"].items():
        torch.testing.assert_close(sharded, whole, atol=1e-5, rtol=1e-3, msg=name)
