"""Collapse and numbers that are not finite are noticed and named."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from okml.add.health import CollapseMonitor, gradient_ratio, noise_spread
from okml.add.settings import HealthSettings
from okml.errors import TrainingError
from okml.training import fit
from tests.add import tiny
from tests.add.tiny import RUN, networks, task

QUICK = HealthSettings(every=1, patience=3)


def test_spread_of_independent_samples_is_one_and_of_equal_ones_zero() -> None:
    draws = torch.Generator().manual_seed(0)
    real, one, other = 0.7 * torch.randn(3, 100, 1, 8, 8, generator=draws) + 2
    assert noise_spread(one, other, real).item() == pytest.approx(1, abs=0.03)
    assert noise_spread(one, one, real).item() == 0
    # Differences of 0.3 everywhere over sqrt(2) times the standard deviation 0.7.
    found = noise_spread(one, one + 0.3, real).item()
    assert found == pytest.approx(0.3 / (2**0.5 * 0.7), abs=0.01)


def test_collapse_is_reported_once_after_patience() -> None:
    monitor = CollapseMonitor(QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step, spread in enumerate([0.01, 0.01, 0.5, 0.01, 0.01], 1):  # recovers once
            monitor.check(step, spread, None, 0)
    with pytest.warns(UserWarning, match=r"step 6 .*mode collapse"):
        monitor.check(6, 0.01, None, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor.check(7, 0.01, None, 0)


def test_beaten_heads_are_reported_and_others_are_not() -> None:
    monitor, fine = CollapseMonitor(QUICK), CollapseMonitor(QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(10):
            fine.check(step, 1.0, 8.0, 5)
        monitor.check(1, 1.0, 9.9, 5)
        monitor.check(2, 1.0, 9.9, 5)
    with pytest.warns(UserWarning, match="outruns"):
        monitor.check(3, 1.0, 9.9, 5)


class Ignoring(tiny.Denoiser):
    """A network that draws the same image whatever the noise."""

    def forward(self, noisy: Tensor, timestep: Tensor, condition: object) -> Tensor:
        schedule = tiny.NoiseSchedule.from_scheduler(tiny.scheduler())
        alpha, sigma = schedule.coefficients(timestep, noisy)
        image = super().forward(torch.zeros_like(noisy), timestep, condition)  # type: ignore[arg-type]
        return (noisy - alpha * image) / sigma


def collapsed(on_collapse: str) -> tiny.AdversarialDistillation:
    distillation = task(health={"every": 1, "patience": 3, "on_collapse": on_collapse})
    distillation.modules["student"].__class__ = Ignoring
    return distillation


def test_a_collapsed_student_stops_the_training() -> None:
    with pytest.raises(TrainingError, match="mode collapse"):
        fit(collapsed("stop"), tiny.examples(), RUN)


def test_a_collapsed_student_is_reported_and_goes_on() -> None:
    with pytest.warns(UserWarning, match="mode collapse"):
        history = fit(collapsed("report"), tiny.examples(), RUN)
    assert history.steps == RUN.max_steps
    assert history.frame["student/noise_spread"].max() < 1e-2


def test_monitor_survives_a_resumption(tmp_path: Path) -> None:
    fit(collapsed("stop"), tiny.examples(), RUN.model_copy(update={"max_steps": 2}), tmp_path)
    with pytest.raises(TrainingError, match="At step 3"):
        fit(collapsed("stop"), tiny.examples(), RUN, tmp_path)


def test_a_teacher_that_is_not_finite_is_named() -> None:
    distillation = task(networks())
    with torch.no_grad():
        next(distillation.networks.teacher.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError) as caught:
        fit(distillation, tiny.examples(), RUN)
    assert "step 1" in caught.value.message
    assert "student/target_size = nan" in caught.value.message
    assert "prediction_size" not in caught.value.message


def test_a_student_that_is_not_finite_is_named_before_weights_move() -> None:
    distillation = task(adversarial=False)
    with torch.no_grad():
        next(distillation.modules["student"].parameters()).fill_(float("nan"))
    before = tiny.weights(distillation.modules["student"])
    with pytest.raises(TrainingError, match="student/prediction_size"):
        fit(distillation, tiny.examples(), RUN)
    after = tiny.weights(distillation.modules["student"])
    for name, value in before.items():
        torch.testing.assert_close(value, after[name], rtol=0, atol=0, equal_nan=True)


def test_gradient_ratio_by_hand() -> None:
    at = torch.tensor([3.0, 4.0], requires_grad=True)
    found = gradient_ratio(at, 2 * at.square().sum(), at.sum())
    # Gradients 4 x = (12, 16) and (1, 1): norms 20 and sqrt 2.
    assert found.item() == pytest.approx(20 / 2**0.5)


def test_gradient_ratio_is_logged_on_its_steps() -> None:
    distillation = task(health={"gradient_ratio_every": 2})
    column = fit(distillation, tiny.examples(), RUN).frame["student/gradient_ratio"].to_list()
    assert [value is not None for value in column] == [False, True] * 3
    assert all(value > 0 for value in column[1::2])
