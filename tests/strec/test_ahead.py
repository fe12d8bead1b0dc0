"""Trainings in worker processes are those that the experiment would have done itself."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from okml.strec.ahead import Job, train_ahead
from okml.strec.arms import sampled
from okml.strec.config import PROFILES
from okml.strec.study import Study
from okml.training import ahead
from tests.strec.tiny import changed, tiny


@pytest.mark.slow
@pytest.mark.realdata
def test_trained_ahead_is_as_trained_in_turn(tmp_path):
    main = changed(
        PROFILES["smoke"].main, rows_per_user=1, length=8, schedule=(8, 3, 1), short_lengths=(3,)
    )
    profile = tiny("smoke", datasets=(main,), sweep=((8, 3, 1),), sweep_learned=())
    threads = torch.get_num_threads()
    arm = sampled("strec", main, profile.recipe)
    job = Job(main, 0, profile.recipe, arm)
    alone, pool = Study(profile, tmp_path / "alone"), Study(profile, tmp_path / "pool")
    try:
        torch.set_num_threads(1)
        expected = alone.train(alone.data(main), profile.recipe, arm, 0).encoder.state_dict()
    finally:
        torch.set_num_threads(threads)
    with mock.patch.object(ahead, "usable_cores", return_value=2):
        train_ahead(pool, [job, Job(main, 0, layers=2)])
    with mock.patch("okml.training.loop._Run._take", side_effect=AssertionError("trained again")):
        found = pool.train(pool.data(main), profile.recipe, arm, 0).encoder.state_dict()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
