from __future__ import annotations

import math
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from okml.periodic_behavior.arms import ARMS
from okml.periodic_behavior.dynamics import (
    LAYER,
    MEASURED,
    DynamicsTask,
    angle_between,
    equilibrium_angle,
    inner,
    inner_by_tensor,
    norm_after,
)
from okml.periodic_behavior.networks import build, invariant_weights
from okml.periodic_behavior.settings import ProblemSettings
from okml.runtime import seed_everything
from okml.training import TensorBatches, TrainingSettings, fit
from tests.device import DEVICE

PROBLEM = ProblemSettings(
    images="fashion_mnist", examples=16, side=8, channels=2, epochs=1, batch=8
)
RATE, DECAY = 0.1, 0.05


def source(count: int = 16) -> TensorBatches:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(count, 1, 8, 8, generator=generator)
    return TensorBatches(pixels, torch.arange(count) % 4)


def task(arm: str, decay: float = DECAY, rate: float = RATE, exact: bool = True) -> DynamicsTask:
    seed_everything(0)
    network = build(PROBLEM, ARMS[arm], 10.0)
    for layer in network.modules():
        if exact and isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-30
    return DynamicsTask(network, rate, decay, ARMS[arm].held)


def settings(epochs: int, **changes: object) -> TrainingSettings:
    given = {"batch_size": 8, "max_epochs": epochs, "evaluate_every": 1, "device": DEVICE}
    return TrainingSettings.model_validate(given | changes)


def norm_of(trained: DynamicsTask) -> float:
    weights = invariant_weights(trained.modules["network"])
    return float(inner(weights, weights).sqrt())


def test_the_norm_of_a_step_by_hand() -> None:
    w, g = torch.tensor([3.0, 4.0]).double(), torch.tensor([4.0, -3.0]).double()  # orthogonal
    moved = w - 0.1 * (g + 0.5 * w)
    found = norm_after(inner([w], [w]), inner([g], [g]), 0.1, 0.5)
    assert float(found) == pytest.approx(float(moved.square().sum()))
    assert float(found) == pytest.approx(0.95**2 * 25 + 0.01 * 25)


@pytest.mark.parametrize("angle", [1e-6, 0.01, 1.0, 2.0, math.pi])
def test_an_angle_between_vectors_in_pieces_is_found_to_its_last_digits(angle: float) -> None:
    first = [torch.tensor([2.0, 0.0]).double(), torch.zeros(3).double()]
    second = [torch.tensor([0.0, 0.0]).double(), torch.tensor([0.0, 5.0, 0.0]).double()]
    second[0][0], second[1][1] = 5 * math.cos(angle), 5 * math.sin(angle)
    squares = inner(first, first), inner(second, second)
    assert float(angle_between(inner(first, second), *squares)) == pytest.approx(angle, rel=1e-3)


def test_a_step_by_the_angle_of_the_equilibrium_leaves_the_norm() -> None:
    rate, decay = 0.2, 0.3
    angle = equilibrium_angle(rate, decay)
    shrunk = (1 - rate * decay) * 3.0
    gradient = shrunk * math.tan(angle) / rate  # |g| that turns weights of norm 3 by the angle
    after = norm_after(torch.tensor(9.0).double(), torch.tensor(gradient**2), rate, decay)
    assert float(after) == pytest.approx(9.0)
    # Wan et al. (2021): the square root of 2ηλ, to first order.
    assert equilibrium_angle(0.01, 1e-3) == pytest.approx(math.sqrt(2e-5), rel=1e-5)


@pytest.mark.parametrize("column", ["norm_error", "layer_error"])
def test_scale_invariant_weights_obey_the_equation_and_plain_ones_do_not(column: str) -> None:
    errors = {}
    for arm in ("invariant", "plain"):
        frame = fit(task(arm), source(), settings(3)).frame
        errors[arm] = max(frame[column].drop_nulls())
    assert errors["invariant"] < 1e-4
    assert errors["plain"] > 1e-2


def test_errors_of_layers_that_cancel_in_the_sum_are_those_of_a_layer() -> None:
    trained = task("invariant", rate=0.5, decay=0.2)
    before, gradient = torch.tensor([4.0, 4.0, 1.0, 1.0]), torch.tensor([2.0, 2.0, 4.0, 4.0])
    exact = 0.9**2 * before + 0.25 * gradient
    after = exact + torch.tensor([0.3, -0.3, 0.0, 0.0])
    squares = [each.double() for each in (before, gradient, after, after)]
    trained.steps = [torch.cat([torch.tensor([1.0, 0.1]).double(), *squares])]
    found = trained.evaluate()
    assert found["norm_error"] == pytest.approx(0, abs=1e-6)
    # The outward part is 0.25 · 2 and the inward one 0.19 · 4, in the first layer as in the second.
    assert found["layer_error"] == pytest.approx(0.3 / (0.5 + 0.76), rel=1e-5)
    assert found[f"{LAYER}0"] == pytest.approx(math.sqrt(float(after[0])))


def test_the_columns_of_an_epoch_follow_from_its_weights() -> None:
    trained = task("invariant")
    start = [weight.detach().clone() for weight in invariant_weights(trained.modules["network"])]
    row = fit(trained, source(8), settings(1)).frame.row(0, named=True)
    end = invariant_weights(trained.modules["network"])
    first, last = (
        torch.cat([w.detach().flatten() for w in each]).double() for each in (start, end)
    )
    assert row["norm"] == pytest.approx(float(last.norm()))
    cosine = torch.cosine_similarity(first, last, dim=0)
    assert row["angle"] == pytest.approx(math.acos(float(cosine)), rel=1e-3)
    assert row["loss"] == pytest.approx(row["train/loss"])


def test_the_angle_of_a_long_step_is_not_the_length_of_its_gradient() -> None:
    """A step of many radii turns the weights by less than a right angle."""
    row = fit(task("invariant", rate=200.0, decay=1e-5), source(8), settings(1)).frame.row(
        0, named=True
    )
    assert 1.3 < row["angle"] < math.pi / 2


def norms_by_layer(trained: DynamicsTask) -> list[float]:
    weights = invariant_weights(trained.modules["network"])
    return inner_by_tensor(weights, weights).sqrt().tolist()


@pytest.mark.parametrize("arm", ["fixed_norm", "total_norm"])
def test_a_fixed_norm_is_held(arm: str) -> None:
    held = task(arm)
    start = norm_of(held)
    norms = fit(held, source(), settings(4)).frame["norm"].drop_nulls()
    assert norm_of(held) == pytest.approx(start, rel=1e-5)
    assert norms.to_list() == pytest.approx([start] * 4, rel=1e-5)


def test_each_layer_keeps_its_norm_and_on_the_common_sphere_they_part() -> None:
    by_layer, together = task("fixed_norm"), task("total_norm")
    start = norms_by_layer(by_layer)
    assert start == norms_by_layer(together)
    frame = fit(by_layer, source(), settings(4)).frame
    fit(together, source(), settings(4))
    assert norms_by_layer(by_layer) == pytest.approx(start, rel=1e-5)
    for number, norm in enumerate(start):
        held = frame[f"{LAYER}{number}"].drop_nulls().to_list()
        assert held == pytest.approx([norm] * 4, rel=1e-5)
    # Two layers that differ in their relative gradients cannot both keep their norms here.
    changes = [
        after / before for after, before in zip(norms_by_layer(together), start, strict=True)
    ]
    assert min(changes) < 0.99
    assert max(changes) > 1.01


def test_the_angle_on_spheres_is_that_between_the_weights_that_are_kept() -> None:
    trained = task("fixed_norm", rate=2.0)
    start = [weight.detach().clone() for weight in invariant_weights(trained.modules["network"])]
    row = fit(trained, source(8), settings(1)).frame.row(0, named=True)
    end = invariant_weights(trained.modules["network"])
    first, last = (
        torch.cat([w.detach().flatten() for w in each]).double() for each in (start, end)
    )
    cosine = torch.cosine_similarity(first, last, dim=0)
    assert row["angle"] == pytest.approx(math.acos(float(cosine)), rel=1e-3)


def test_only_the_product_of_rate_and_decay_counts() -> None:
    plain, scaled = task("invariant"), task("invariant", rate=RATE * 4, decay=DECAY / 4)
    with torch.no_grad():
        for weight in invariant_weights(scaled.modules["network"]):
            weight *= 2
    losses = [fit(each, source(), settings(3)).frame["loss"].to_list() for each in (plain, scaled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_few_images_are_learned_by_heart() -> None:
    frame = fit(task("invariant", decay=0.0, exact=False), source(), settings(150)).frame
    losses = frame["loss"].drop_nulls()
    assert losses[-1] < 0.3 < losses[0] / 3


@pytest.mark.parametrize("stop", [4, 5])
def test_a_training_that_was_interrupted_goes_on_as_if_it_were_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Also within an epoch, whose steps are kept until its end."""
    whole = fit(task("invariant"), source(), settings(4)).frame
    interrupted = task("invariant")
    after_step = interrupted.after_step

    def interrupt(step: int) -> None:
        after_step(step)
        if step == stop:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(interrupted, "after_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, source(), settings(4), tmp_path)
    resumed = fit(task("invariant"), source(), settings(4), tmp_path).frame
    for name in MEASURED:
        ends = [each.filter(each["step"] == 8)[name].to_list() for each in (whole, resumed)]
        assert ends[0] == ends[1], name
