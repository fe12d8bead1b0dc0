"""One training, one folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from okml.errors import BusyError
from okml.locks import LOCK, held
from okml.training import fit, loop
from tests.processes import launch
from tests.training.tasks import BASE, ActorCritic, Noisy


def test_a_second_training_names_the_first_and_leaves_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "ENDING_S", 0.1)
    with held(tmp_path), pytest.raises(BusyError, match=f"process {os.getpid()} "):
        fit(ActorCritic(), Noisy(), BASE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert fit(ActorCritic(), Noisy(), BASE, tmp_path).steps == BASE.max_steps


@pytest.mark.slow
def test_all_processes_of_a_training_hear_that_the_folder_is_in_use(tmp_path: Path) -> None:
    with held(tmp_path):
        done = launch("tests.training.impatient", tmp_path)
    assert done.returncode == 1
    assert done.stderr.count(f"BusyError: {tmp_path} is in use by process {os.getpid()} ") == 2
