"""When a fit of critics counts as finished."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from okml.offline_rl.arms import CriticJob
from okml.offline_rl.experiments.critics import finished, still_falling
from okml.offline_rl.fitting import ERROR
from okml.offline_rl.study import Study
from tests.offline_rl.tiny import tiny
from tests.seqrec.curves import history


def fit(errors, stopped_by="max_epochs"):
    """Return the history of a fit with an evaluation of its error at equal intervals."""
    made = history([-error for error in errors], stopped_by)
    return replace(made, frame=made.frame.select("step", -made.frame["ndcg@10"].alias(ERROR)))


@pytest.mark.parametrize(("fall", "expected"), [(0.9, False), (1.1, True)])
def test_a_hundredth_of_the_least_error_divides_flat_from_falling(fall, expected):
    # A fall of `fall` hundredths of the least error, 1, in the last tenth of the steps.
    errors = [1 + fall * 0.01 * (39 - n) / 4 for n in range(40)]
    assert still_falling([fit(errors)]) is expected
    assert not still_falling([fit(errors, "early_stopping")])
    assert not still_falling([fit(errors), fit(errors[::-1])])


def test_what_is_not_known_to_be_flat_was_still_falling():
    assert still_falling([fit([2, 1])])
    assert not still_falling([fit([2, 1], "early_stopping")])


@pytest.mark.parametrize(
    ("errors", "curve", "expected"),
    [
        ({1e-3: 2, 1e-2: 1, 1e-1: 3}, [1, 1, 1, 1], True),
        ({1e-3: 2, 1e-2: 1, 1e-1: 3}, [4, 3, 2, 1], False),
        ({1e-3: 3, 1e-2: 2, 1e-1: 1}, [1, 1, 1, 1], False),
    ],
    ids=["between two worse rates and flat", "still falling", "at an end"],
)
def test_a_fit_is_finished_at_a_rate_between_others_and_with_a_flat_error(
    tmp_path, errors, curve, expected
):
    profile = tiny(seeds=[0, 1], fit={"rates": [1e-3, 1e-2], "copies": [2]}, further_rates=1)

    def train(study, job):
        rate = study.best_fit(job)[0] if job.rate is None else job.rate
        return SimpleNamespace(error=errors[round(rate, 6)], history=fit(curve))

    parts = SimpleNamespace(choice=SimpleNamespace(end=slice(None)))
    with (
        mock.patch.object(Study, "train", train),
        mock.patch.object(Study, "data"),
        mock.patch("okml.offline_rl.study.split_users", return_value=parts),
        mock.patch("okml.offline_rl.study.returns_of", return_value=np.full(4, 2.0)),
    ):
        assert finished(Study(profile, tmp_path), CriticJob(profile.main, 0)) is expected
