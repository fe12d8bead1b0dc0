"""The losses against values worked by hand and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from okml.add.losses import (
    distillation_loss,
    distillation_weight,
    hinge_for_heads,
    hinge_for_student,
    r1_penalty,
)
from okml.add.schedule import NoiseSchedule
from okml.add.target import teacher_target
from okml.errors import ParameterError
from tests.add import tiny


def test_hinge_of_two_heads_by_hand() -> None:
    real = [torch.tensor([[2.0, 0.5], [-1.0, 1.0]]), torch.tensor([[0.0], [3.0]])]
    fake = [torch.tensor([[-2.0, -0.5], [1.0, 0.0]]), torch.tensor([[-1.0], [0.0]])]
    # First head: real max(0, 1 - x) = 0, .5, 2, 0; fake max(0, 1 + x) = 0, .5, 2, 1.
    # Second head: real 1, 0; fake 0, 1.
    expected = 2.5 / 4 + 3.5 / 4 + 0.5 + 0.5
    assert hinge_for_heads(real, fake).item() == pytest.approx(expected)
    # Student: minus the means, -(-1.5 / 4) - (-1 / 2).
    assert hinge_for_student(fake).item() == pytest.approx(0.375 + 0.5)


def test_hinge_at_chance_is_two_a_head() -> None:
    zeros = [torch.zeros(3, 7)] * 5
    assert hinge_for_heads(zeros, zeros).item() == pytest.approx(10.0)


def test_r1_of_linear_heads_is_the_norm_of_their_weights() -> None:
    # D(f)[n] = sum_c w_c f[c, n]: the gradient of sum_n D by f[c, n] is w_c at each of N places.
    w = [torch.tensor([1.0, -2.0]), torch.tensor([0.5])]
    lengths = [3, 4]
    features = [
        torch.randn(5, len(v), n, requires_grad=True) for v, n in zip(w, lengths, strict=True)
    ]
    logits = [torch.einsum("c,bcn->bn", v, f) for v, f in zip(w, features, strict=True)]
    assert r1_penalty(logits, features).item() == pytest.approx(3 * 5.0 + 4 * 0.25)


def test_r1_of_a_square_head_by_hand() -> None:
    # D(f)[n] = f[n]^2: gradient 2 f, squared norm 4 |f|^2, mean over the two examples.
    features = torch.tensor([[[1.0, 2.0]], [[0.0, 3.0]]], requires_grad=True)
    penalty = r1_penalty([features.square().squeeze(1)], [features])
    assert penalty.item() == pytest.approx((4 * 5 + 4 * 9) / 2)


def test_r1_of_a_constant_head_is_zero_and_trains_heads() -> None:
    features = [torch.randn(2, 3, 4, requires_grad=True)]
    assert r1_penalty([features[0].sum(1) * 0], features).item() == 0
    head = nn.Conv1d(3, 1, 1)
    r1_penalty([head(features[0]).squeeze(1)], features).backward()
    # d/dw of N |w|^2 is 2 N w.
    torch.testing.assert_close(head.weight.grad, 2 * 4 * head.weight.detach())


def test_weights_of_the_kinds() -> None:
    alpha = torch.tensor([0.6], dtype=torch.double)
    sigma = torch.tensor([0.8], dtype=torch.double)
    assert distillation_weight("exponential", alpha, sigma).item() == 0.6  # not 0.36
    assert distillation_weight("sds", alpha, sigma).item() == pytest.approx(0.24)
    assert distillation_weight("nfsd", alpha, sigma).item() == pytest.approx(0.24)
    assert distillation_weight("uniform", alpha, sigma).item() == 1
    with pytest.raises(ParameterError):
        distillation_weight("none", alpha, sigma)


def test_a_summed_distance_is_the_mean_times_the_entries_of_an_image() -> None:
    prediction, target = (
        torch.randn(3, 2, 4, 5, dtype=torch.double).requires_grad_(),
        torch.zeros(1),
    )
    weight = torch.tensor([0.5, 0.25, 1.0], dtype=torch.double)
    summed = distillation_loss(prediction, target, weight, "sum")
    mean = distillation_loss(prediction, target, weight)
    assert summed.item() == pytest.approx(2 * 4 * 5 * mean.item(), rel=1e-6)
    # Eq. 4 to the letter: the gradient by an entry is 2 c(t) times the difference, over the batch.
    (gradient,) = torch.autograd.grad(summed, prediction)
    expected = 2 * weight.reshape(-1, 1, 1, 1) * prediction.detach() / 3
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)


def test_distillation_by_hand() -> None:
    prediction = torch.tensor([[1.0, 3.0], [0.0, 2.0]], requires_grad=True)
    target = torch.tensor([[0.0, 1.0], [0.0, -2.0]], requires_grad=True)
    weight = torch.tensor([0.5, 0.25])
    loss = distillation_loss(prediction, target, weight)
    # Means of squares 2.5 and 8; weighted 1.25 and 2; mean 1.625.
    assert loss.item() == pytest.approx(1.625)
    loss.backward()
    # d = weight * 2 (x - y) / entries / batch.
    torch.testing.assert_close(prediction.grad, torch.tensor([[0.25, 0.5], [0.0, 0.5]]))
    assert target.grad is None


@pytest.fixture
def case() -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    size = (4, 1, tiny.SIDE, tiny.SIDE)
    return {
        "sample": torch.randn(size, generator=draws).requires_grad_(),
        "noise": torch.randn(size, generator=draws),
        "timestep": torch.tensor([30, 150, 400, 900]),
        "class_labels": torch.tensor([0, 1, 2, 1]),
    }


def gradient(
    weighting: str, case: dict[str, torch.Tensor], **changes: object
) -> tuple[torch.Tensor, object]:
    """Return the gradient of the summed loss by the sample, and the networks."""
    networks = tiny.networks(**changes)
    settings = tiny.settings(distillation=weighting, teacher_guidance=1.0)
    told = {"class_labels": case["class_labels"]}
    sample, timestep = case["sample"], case["timestep"]
    target = teacher_target(networks, settings, sample.detach(), timestep, case["noise"], told)
    schedule = networks.teacher_schedule
    weight = distillation_weight(weighting, schedule.alpha(timestep), schedule.sigma(timestep))
    loss = distillation_loss(sample, target, weight)
    (found,) = torch.autograd.grad(loss * sample.numel(), sample)
    return found, networks


def noise_of(networks, case: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    noisy = networks.teacher_schedule.add_noise(
        case["sample"].detach(), case["noise"], case["timestep"]
    )
    with torch.no_grad():
        return networks.teacher(noisy, case["timestep"], {"class_labels": labels})


def test_sds_weight_gives_the_gradient_of_score_distillation(case) -> None:
    """Appendix A: w(t) (eps_hat - eps'), w(t) = sigma^2."""
    found, networks = gradient("sds", case)
    sigma = networks.teacher_schedule.sigma(case["timestep"])[:, None, None, None]
    expected = sigma**2 * (noise_of(networks, case, case["class_labels"]) - case["noise"])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("negative", [True, False])
def test_nfsd_gives_the_gradient_of_its_paper(case, negative: bool) -> None:
    """w(t) (domain + s condition); the domain term changes at t = 200."""
    told = {"class_labels": torch.tensor([1])} if negative else None
    found, networks = gradient("nfsd", case, negative_condition=told)
    null = torch.full_like(case["class_labels"], tiny.NULL)
    empty = noise_of(networks, case, null)
    direction = noise_of(networks, case, case["class_labels"]) - empty
    other = noise_of(networks, case, torch.ones_like(null)) if negative else empty
    late = (case["timestep"] >= 200)[:, None, None, None]
    domain = torch.where(late, empty - other, empty)
    sigma = networks.teacher_schedule.sigma(case["timestep"])[:, None, None, None]
    expected = sigma**2 * (domain + 7.5 * direction)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_teacher_steps_are_those_of_ddim(case) -> None:
    """Four inner steps from t = 800 against diffusers' DDIM, whose five steps have that stride."""
    from diffusers import DDIMScheduler

    networks = tiny.networks()
    told = {"class_labels": case["class_labels"]}
    sample, timestep = case["sample"].detach(), torch.full((4,), 800)
    settings = tiny.settings(teacher_steps=4)
    found = teacher_target(networks, settings, sample, timestep, case["noise"], told)

    solver = DDIMScheduler.from_config(tiny.scheduler().config, clip_sample=False)
    solver.set_timesteps(5)
    noisy = networks.teacher_schedule.add_noise(sample, case["noise"], timestep)
    for now in (800, 600, 400, 200):
        with torch.no_grad():
            output = networks.teacher(noisy, torch.full((4,), now), told)
        step = solver.step(output, now, noisy)
        noisy, clean = step.prev_sample, step.pred_original_sample
    torch.testing.assert_close(found, clean, rtol=1e-4, atol=1e-4)


def test_guidance_of_the_target(case) -> None:
    networks = tiny.networks()
    told = {"class_labels": case["class_labels"]}
    arguments = (case["sample"].detach(), case["timestep"], case["noise"], told)
    null = torch.full_like(case["class_labels"], tiny.NULL)
    schedule: NoiseSchedule = networks.teacher_schedule

    def target(guidance: float) -> torch.Tensor:
        return teacher_target(networks, tiny.settings(teacher_guidance=guidance), *arguments)

    noisy = schedule.add_noise(arguments[0], case["noise"], case["timestep"])
    untold = schedule.to_sample(noise_of(networks, case, null), noisy, case["timestep"])
    expected = untold + 3 * (target(1.0) - untold)
    torch.testing.assert_close(target(3.0), expected, rtol=1e-3, atol=1e-3)
