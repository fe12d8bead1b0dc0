"""A sample of kills in every run of the tests; `make nightly` does two hundred.

The programs are forked from a process that has imported the libraries, to save its time.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tests.survival.matrix import KILLS, SEED, SHARES, all_strikes, counted
from tests.survival.scenarios import Fetch, Recording, Scenario, Steps, Training, server
from tests.survival.strike import Reference, Strike, reference, strike

PATIENCE_S = 60.0  # of a busy machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc"),
]


def survives(
    scenario: Scenario, folder: Path, kills: int, undisturbed: Reference | None = None
) -> None:
    folder.mkdir()
    undisturbed = undisturbed or reference(scenario, folder / "undisturbed")
    rng, done = random.Random(scenario.name), 0
    for number in range(10 * kills):
        came_of_it = strike(scenario, folder / str(number), undisturbed, rng, PATIENCE_S)
        if came_of_it is not None:
            assert came_of_it.survived, came_of_it
            done += 1
        if done == kills:
            return
    pytest.fail(f"{done} of {kills} kills hit {scenario.name} while it ran")


def test_fetching(tmp_path):
    with server() as address:
        survives(Fetch(address), tmp_path / "fetch", 2)


def test_training(tmp_path):
    survives(Training(), tmp_path / "training", 2)


def test_steps_and_recording(tmp_path):
    undisturbed = reference(Steps(), tmp_path / "finished")
    survives(Steps(), tmp_path / "steps", 1, undisturbed)
    survives(Recording(tmp_path / "finished"), tmp_path / "recording", 1)


@pytest.mark.nightly
def test_two_hundred_kills():
    strikes = all_strikes(KILLS, SEED)
    assert abs(len(strikes) - KILLS) < len(SHARES)  # shares are rounded
    assert [each for each in strikes if not each.survived] == []


def test_a_table_counts_what_went_wrong():
    strikes = [
        Strike("fetch", "command", "SIGKILL", 0.25, (), True),
        Strike("fetch", "server", "SIGKILL", None, (), True),
        Strike("fetch", "command", "SIGKILL", 1.26, ("a file",), False),
        Strike("fetch", "command", "SIGTERM", 0.1, (), False),
    ]
    kill, term = counted(strikes)
    assert (kill.work, kill.signal, kill.kills) == ("fetch", "SIGKILL", 3)
    assert (kill.gone, kill.whole, kill.equal) == (2, 2, 2)
    assert kill.processes == {"command": 2, "server": 1}
    assert kill.slowest_s == 1.3
    assert (term.signal, term.gone, term.whole, term.equal) == ("SIGTERM", 1, 1, 0)
