"""What student and teacher are shown, and where gradients go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from okml.add.task import AdversarialDistillation, StudentOutput
from okml.training import fit
from tests.add import tiny
from tests.add.tiny import RUN, Mirror, batch, generator, networks, run_phase, task, weights


def moved(module: nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters() if p.grad is not None and p.grad.abs().sum() > 0]


def untouched(module: nn.Module) -> bool:
    return all(p.grad is None for p in module.parameters())


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def watched(distillation: AdversarialDistillation) -> list[StudentOutput]:
    """Return a list that gets what the student makes."""
    made: list[StudentOutput] = []
    generate = distillation.generate

    def spy(*arguments: Any) -> StudentOutput:
        made.append(generate(*arguments))
        return made[-1]

    distillation.generate = spy  # type: ignore[method-assign]
    return made


def implied_noise(distillation: AdversarialDistillation, sample: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eps' that makes the teacher's input of ``sample``, and which rows to trust."""
    ((noisy, timestep, _),) = distillation.networks.teacher.calls
    assert not noisy.requires_grad
    alpha, sigma = distillation.networks.teacher_schedule.coefficients(timestep, sample)
    return (
        noisy - alpha * sample
    ) / sigma, timestep > 100  # else the division is badly conditioned


def test_teacher_sees_the_noised_output_of_the_student() -> None:
    """Not the student's input and not its bare output: alpha_t x0_hat + sigma_t eps'."""
    distillation = task()
    made = watched(distillation)
    run_phase(distillation, "student")
    sample = made[0].sample.detach()
    noise, late = implied_noise(distillation, sample)
    assert noise[late].mean().abs() < 0.15
    assert noise[late].std().item() == pytest.approx(1, abs=0.1)
    assert abs(correlation(noise[late], sample[late])) < 0.15
    told = distillation.networks.teacher.calls[0][2]
    assert torch.equal(told["class_labels"], batch().condition["class_labels"])


def test_another_latent_space_is_reached_through_pixels() -> None:
    """A teacher in a mirrored space sees the student's image as its own codec encodes it."""
    distillation = task(networks(teacher_codec=Mirror()))
    made = watched(distillation)
    run_phase(distillation, "student")
    encoded = 0.5 * made[0].images.detach().flip(2)
    noise, late = implied_noise(distillation, encoded)
    assert abs(correlation(noise[late], encoded[late])) < 0.15
    assert noise[late].std().item() == pytest.approx(1, abs=0.1)


def test_student_sees_real_images_at_its_own_timesteps() -> None:
    distillation = task()
    student = tiny.Recorder(distillation.modules["student"].network)
    distillation.modules["student"] = student
    examples = batch(24)
    for seed in range(40):
        distillation.generate(examples, generator(seed))
    steps = torch.cat([timestep for _, timestep, _ in student.calls])
    shares = torch.bincount(steps, minlength=1000) / len(steps)
    assert set(steps.tolist()) == {249, 499, 749, 999}
    assert (shares[[249, 499, 749, 999]] - 0.25).abs().max() < 0.05
    noisy = torch.cat([noisy for noisy, _, _ in student.calls])
    images = examples.images.repeat(40, 1, 1, 1)
    assert abs(correlation(noisy[steps == 999], images[steps == 999])) < 0.03  # pure noise
    assert correlation(noisy[steps == 249], images[steps == 249]) > 0.5


def test_timesteps_of_the_student_are_drawn_equally_often() -> None:
    steps = task()._student_timesteps(4000, generator(0), torch.device("cpu"))
    assert set(steps.tolist()) == {249, 499, 749, 999}
    assert (steps == 999).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_students_loss_reaches_the_student_alone() -> None:
    made = networks(codec=Mirror())
    distillation = task(made)
    run_phase(distillation, "student")
    assert moved(distillation.modules["student"])
    others = (made.teacher, made.features, made.codec, distillation.modules["heads"])
    assert all(untouched(module) for module in others)


def test_heads_loss_reaches_the_heads_alone() -> None:
    made = networks(codec=Mirror())
    distillation = task(made)
    run_phase(distillation, "heads")
    assert len(moved(distillation.modules["heads"])) > 10
    others = (made.teacher, made.features, made.codec, distillation.modules["student"])
    assert all(untouched(module) for module in others)


def test_adversarial_gradient_passes_features_and_decoder_to_the_student() -> None:
    """A student that generates without gradients would learn nothing from the heads."""
    distillation = task(networks(codec=Mirror()), distillation="none")
    run_phase(distillation, "student")
    assert len(moved(distillation.modules["student"])) > 10


def test_r1_is_taken_by_the_input_of_the_heads() -> None:
    distillation = task(r1_weight=0.5)
    seen = tiny.inputs_of(distillation.modules["heads"])
    losses = run_phase(distillation, "heads")
    (real, _), (fake, _) = seen
    assert all(each.is_leaf and each.requires_grad for each in real)
    assert not any(each.requires_grad for each in fake)
    torch.testing.assert_close(losses["loss"], losses["hinge"] + 0.5 * losses["r1"])
    assert losses["r1"] > 0


def test_r1_on_some_steps_weighs_as_much_more() -> None:
    distillation = task(r1_weight=0.5, r1_every=4)
    assert "r1" not in run_phase(distillation, "heads", step=3)
    losses = run_phase(distillation, "heads", step=4)
    torch.testing.assert_close(losses["loss"], losses["hinge"] + 2.0 * losses["r1"])


def test_training_moves_student_and_heads_and_nothing_else(tmp_path: Path) -> None:
    distillation = task(networks(codec=Mirror()))
    trained = {name: weights(module) for name, module in distillation.modules.items()}
    frozen = [weights(module) for module in distillation.frozen()]
    fit(distillation, tiny.examples(), RUN.model_copy(update={"max_steps": 2}), tmp_path)
    for name, module in distillation.modules.items():
        assert any(not torch.equal(v, trained[name][k]) for k, v in module.named_parameters())
    for before, module in zip(frozen, distillation.frozen(), strict=True):
        assert all(torch.equal(value, before[name]) for name, value in weights(module).items())


def test_gradients_of_accumulated_micro_batches_are_those_of_one() -> None:
    """The seed belongs to the micro-batch, so two halves are two draws; the mean is over both."""
    distillation = task()
    halves = [batch()._replace(seed=seed) for seed in (1, 2)]
    whole = sum(distillation.student_loss(1, half)["loss"] for half in halves) / 2
    whole.backward()
    expected = [p.grad.clone() for p in distillation.modules["student"].parameters()]
    distillation.modules["student"].zero_grad()
    for half in halves:
        (distillation.student_loss(1, half)["loss"] / 2).backward()
    for parameter, gradient in zip(
        distillation.modules["student"].parameters(), expected, strict=True
    ):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-4)
