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
from tests.profiles import changed
from tests.second_device.smallest import small_strec
from tests.strec.tiny import put_logs


@pytest.mark.slow
def test_trained_ahead_is_as_trained_in_turn(own_data, tmp_path):
    put_logs(own_data)
    precision = PROFILES["gpu"].mixed_precision
    small = small_strec()
    rates = {
        "recipes": (changed(small.recipe, learning_rates=(5e-4, 1e-3)),),
        "warm_start": changed(small.warm_start, learning_rates=(1e-3, 2e-3)),
    }
    profile = changed(small, **rates, mixed_precision=precision)
    main, seed = profile.main, profile.seeds[0]
    threads = torch.get_num_threads()
    job = Job(main, sampled("strec", main, profile.recipe), seed, profile.recipe)
    causal = Job(main, Arm(CAUSAL, training="windows", layers=2), seed, profile.recipe)
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
