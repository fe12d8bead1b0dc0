"""Trainings in worker processes are those that the experiment would have done itself."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from okml.strec.arms import CAUSAL, Arm, Job, sampled
from okml.strec.config import PROFILES
from okml.strec.study import Study
from okml.training import ahead
from okml.training.ahead import train_ahead
from tests.strec.tiny import changed


@pytest.mark.slow
@pytest.mark.realdata
def test_trained_ahead_is_as_trained_in_turn(tmp_path):
    main = changed(
        PROFILES["smoke"].main, rows_per_user=1, length=8, schedule=(8, 3, 1), short_lengths=(3,)
    )
    profile = changed(PROFILES["smoke"], datasets=(main,), sweep=((8, 3, 1),), device="cpu",
                      rate_factors=(1.0, 2.0))  # fmt: skip
    threads = torch.get_num_threads()
    job = Job(main, sampled("strec", main, profile.recipe), 0, profile.recipe)
    causal = Job(main, Arm(CAUSAL, training="windows", layers=2), 0, profile.recipe)
    alone, pool = Study(profile, tmp_path / "alone"), Study(profile, tmp_path / "pool")
    try:
        torch.set_num_threads(1)
        expected = alone.train(job).encoder.state_dict()
    finally:
        torch.set_num_threads(threads)
    with mock.patch.object(ahead, "usable_cores", return_value=2):
        train_ahead(pool, [job, causal])
    with mock.patch("okml.training.loop._Run._take", side_effect=AssertionError("trained again")):
        found = pool.train(job).encoder.state_dict()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
