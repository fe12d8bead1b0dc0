"""What each switch does, and that a distillation learns and resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from okml.add.sampling import sample_student
from okml.add.schedule import NoiseSchedule
from okml.add.task import AdversarialDistillation
from okml.errors import ParameterError, TrainingError
from okml.training import fit, load_weights
from tests.add import tiny
from tests.add.tiny import RUN, Mirror, batch, generator, networks, run_phase, task, weights
from tests.waits import Waits

SHORT = NoiseSchedule.from_scheduler(DDPMScheduler(num_train_timesteps=500))

# ---------------------------------------------------------------- switches


@pytest.mark.parametrize(
    "changes",
    [
        {"condition_text": False},
        {"condition_image": False},
        {"condition_text": False, "condition_image": False},
        {"adversarial": False},
        {"distillation": "none"},
        {"distillation": "sds"},
        {"distillation": "nfsd"},
        {"distillation": "uniform"},
        {"teacher_steps": 2},
        {"teacher_guidance": 3.0},
        {"distillation_space": "latent"},
        {"image_condition_at_pure_noise": "null"},
        {"shared_fakes": True},
        {"terminal_snr": "native"},
    ],
    ids=lambda changes: ",".join(f"{name}={value}" for name, value in changes.items()),
)
def test_every_switch_trains(changes: dict[str, Any]) -> None:
    distillation = task(networks(codec=Mirror()), **changes)
    frame = fit(distillation, tiny.examples(), RUN.model_copy(update={"max_steps": 2})).frame
    assert ("student/adversarial" in frame) == changes.get("adversarial", True)
    assert ("student/distillation" in frame) == (changes.get("distillation") != "none")
    assert frame["student/gradient_norm"].min() > 0


def test_both_spaces_agree_where_they_are_the_same() -> None:
    pixel, latent = (
        run_phase(task(distillation_space=space), "student") for space in ("pixel", "latent")
    )
    torch.testing.assert_close(pixel["distillation"], latent["distillation"])


def test_pixel_space_compares_decoded_images() -> None:
    """The mirror's pixels are twice its latents, so squared differences are four times."""
    pixel, latent = (
        run_phase(task(networks(codec=Mirror()), distillation_space=space), "student")
        for space in ("pixel", "latent")
    )
    torch.testing.assert_close(pixel["distillation"], 4 * latent["distillation"])


def test_total_is_adversarial_plus_lambda_distillation() -> None:
    losses = run_phase(task(distillation_weight=0.7), "student")
    expected = losses["adversarial"] + 0.7 * losses["distillation"]
    torch.testing.assert_close(losses["loss"], expected)


def test_image_condition_is_hidden_for_real_and_fake_alike() -> None:
    distillation = task(image_condition_at_pure_noise="null")
    seen = tiny.inputs_of(distillation.modules["heads"])
    run_phase(distillation, "heads")
    (_, real), (_, fake) = seen
    assert torch.equal(real, fake)
    hidden = (real[:, tiny.TEXT_WIDTH :] == 0).all(1)
    assert 0 < hidden.sum() < len(hidden)
    assert (real[:, : tiny.TEXT_WIDTH] != 0).any(1).all()


def test_prompt_encoder_makes_the_networks_arguments() -> None:
    class Shift(nn.Module):
        def forward(self, condition: Any) -> dict[str, Tensor]:
            return {"class_labels": condition["ids"] - 10}

    examples = batch()
    told = {"ids": examples.condition["class_labels"] + 10}
    plain, encoded = task(), task(networks(prompt_encoder=Shift()))
    expected = plain.student_loss(1, examples)["loss"]
    found = encoded.student_loss(1, examples._replace(condition=told))["loss"]
    torch.testing.assert_close(found, expected)


def test_a_teacher_of_another_family_is_told_its_own_condition() -> None:
    distillation = task()
    other = {"class_labels": torch.full((8,), tiny.NULL)}
    distillation.student_loss(1, batch()._replace(teacher_condition=other))
    (_, _, told) = distillation.networks.teacher.calls[-1]
    assert torch.equal(told["class_labels"], other["class_labels"])


def test_shared_fakes_are_the_students_own() -> None:
    distillation = task(shared_fakes=True)
    student, heads = distillation.phases(1)
    assert (student.name, heads.name) == ("student", "heads")
    seen = tiny.inputs_of(distillation.modules["heads"])
    student.loss(batch())
    heads.loss(batch())
    (made, _), _, (again, _) = seen
    assert all(torch.equal(a, b) for a, b in zip(made, again, strict=True))
    assert not any(each.requires_grad for each in again)


def test_a_step_is_a_function_of_weights_and_batch() -> None:
    one, other = task(), task()
    torch.manual_seed(1)
    first = one.student_loss(1, batch())["loss"]
    torch.manual_seed(2)
    assert torch.equal(other.student_loss(1, batch())["loss"], first)
    assert not torch.equal(other.student_loss(1, batch()._replace(seed=9))["loss"], first)


def test_guidance_and_timesteps_follow_the_weighting_unless_set() -> None:
    assert tiny.settings().guidance == 1
    assert tiny.settings().teacher_range == (0, 999)
    assert tiny.settings(distillation="sds").guidance == 7.5
    assert tiny.settings(distillation="sds").teacher_range == (20, 980)
    assert tiny.settings(distillation="sds", teacher_guidance=2).guidance == 2
    assert tiny.settings(teacher_timesteps=(5, 6)).teacher_range == (5, 6)


@pytest.mark.parametrize(
    ("changes", "replaced", "word"),
    [
        ({}, {"features": None}, "feature network"),
        ({"distillation": "sds"}, {"null_condition": None}, "empty condition"),
        ({"distillation": "nfsd"}, {"null_condition": None}, "empty condition"),
        ({}, {"teacher_schedule": SHORT}, "teacher_timesteps goes up to 999"),
    ],
)
def test_what_is_missing_is_named(
    changes: dict[str, Any], replaced: dict[str, Any], word: str
) -> None:
    with pytest.raises(ParameterError, match=word):
        task(networks(**replaced), **changes)


@pytest.mark.parametrize("width", ["text_width", "image_width"])
def test_widths_of_conditions_are_needed(width: str) -> None:
    made = task()
    widths = {"text_width": 3, "image_width": 3} | {width: 0}
    student = made.modules["student"]
    with pytest.raises(ParameterError, match=width):
        AdversarialDistillation(student, made.schedule, made.networks, made.settings, **widths)


@pytest.mark.parametrize(
    "changes",
    [
        {"adversarial": False, "distillation": "none"},
        {"distillation": "nfsd", "teacher_steps": 2},
        {"student_timesteps": (999, 499)},
        {"lambda": 2.0},
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        tiny.settings(**changes)


# ---------------------------------------------------------------- learning


class OneImage(tiny.Recorder):
    """A teacher whose every prediction says that the sample is one image."""

    def __init__(self, image: Tensor) -> None:
        super().__init__(tiny.unet())
        self.image = image
        self.schedule = tiny.NoiseSchedule.from_scheduler(tiny.scheduler())

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Any) -> Tensor:
        alpha, sigma = self.schedule.coefficients(timestep, noisy)
        return (noisy - alpha * self.image) / sigma


def test_two_steps_overfit_one_image() -> None:
    """From a teacher that knows one image alone, the student learns to draw it in two steps."""
    image = tiny.examples(1).images
    label = torch.zeros(8, dtype=torch.long)
    source = tiny.ExampleBatches(image.expand(8, -1, -1, -1), {"class_labels": label})
    distillation = task(
        networks(teacher=OneImage(image)),
        adversarial=False,
        distillation="uniform",
        student_optimizer={"learning_rate": 1e-2, "betas": (0.9, 0.99)},
    )

    def error() -> float:
        drawn = sample_student(
            distillation.modules["student"],
            distillation.schedule,
            torch.randn(8, 1, tiny.SIDE, tiny.SIDE, generator=generator(7)),
            {"class_labels": label},
            steps=2,
            generator=generator(8),
        )
        return float((drawn - image).square().mean())

    before = error()
    run = RUN.model_copy(update={"max_steps": 150, "ema_decay": None})
    losses = fit(distillation, source, run).frame["student/distillation"].to_numpy()
    assert losses[-20:].mean() < 0.2 * losses[:5].mean()
    assert error() < 0.2 * before


def test_heads_learn_to_tell_real_from_generated() -> None:
    distillation = task(
        head_optimizer={"learning_rate": 1e-2},
        heads=tiny.SETTINGS.heads.model_dump() | {"condition_scale": "root_width"},
        augment={"brightness": 0, "contrast": 0, "translation": 0, "cutout": 0},
    )
    first = float(run_phase(distillation, "heads")["hinge"].detach())
    optimizer = distillation.optimizers["heads"]
    for seed in range(120):
        optimizer.zero_grad()
        distillation.heads_loss(1, batch()._replace(seed=seed))["loss"].backward()
        optimizer.step()
        distillation.after_step(1)
    assert float(run_phase(distillation, "heads")["hinge"].detach()) < 0.9 * first


def test_resumed_training_equals_uninterrupted(tmp_path: Path) -> None:
    """Bit for bit: weights of student, heads and average, and every logged number."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    straight = fit(task(), tiny.examples(), RUN, whole)
    fit(task(), tiny.examples(), RUN.model_copy(update={"max_steps": 3}), parts)
    resumed = fit(task(), tiny.examples(), RUN, parts)
    expected, found = load_weights(whole), load_weights(parts)
    assert expected.keys() == found.keys() == {"student", "heads", "ema.student"}
    for module, tensors in expected.items():
        for name, value in tensors.items():
            assert torch.equal(value, found[module][name]), (module, name)
    measured = [
        frame.frame.drop("seconds").filter(frame.frame["step"] > 0) for frame in (straight, resumed)
    ]
    assert (
        measured[0]
        .select(sorted(measured[0].columns))
        .equals(measured[1].select(sorted(measured[1].columns)))
    )


def test_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    fit(task(), tiny.examples(), RUN.model_copy(update={"max_steps": 1}), tmp_path)
    with pytest.raises(TrainingError, match="distillation_weight"):
        fit(task(distillation_weight=1.0), tiny.examples(), RUN, tmp_path)


def test_bfloat16_trains_and_heads_stay_in_float32() -> None:
    distillation = task()
    seen: list[torch.dtype] = []
    distillation.modules["heads"].register_forward_hook(
        lambda module, given, out: seen.extend(each.dtype for each in out)
    )
    run = RUN.model_copy(update={"max_steps": 2, "mixed_precision": "bf16"})
    assert fit(distillation, tiny.examples(), run).steps == 2
    assert set(seen) == {torch.float32}


def test_checkpointing_changes_memory_and_no_number() -> None:
    """The student's gradient is the same with activations recomputed."""
    found = []
    for checkpointing in (False, True):
        distillation = task()
        distillation.modules["student"] = tiny.make_student(
            distillation.networks.teacher, gradient_checkpointing=checkpointing
        )
        student = distillation.modules["student"]
        assert student.network.is_gradient_checkpointing is checkpointing
        run_phase(distillation, "student")
        found.append([p.grad for p in distillation.modules["student"].parameters()])
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_evaluation_sees_student_and_average() -> None:
    made = task()
    distillation = AdversarialDistillation(
        made.modules["student"],
        made.schedule,
        made.networks,
        made.settings,
        text_width=tiny.TEXT_WIDTH,
        image_width=tiny.IMAGE_WIDTH,
        evaluate=lambda student: {"norm": sum(float(p.norm()) for p in student.parameters())},
    )
    frame = fit(distillation, tiny.examples(), RUN).frame
    assert frame["norm"][-1] != frame["ema/norm"][-1]


# ---------------------------------------------------------------- the student


def test_students_weights_are_the_teachers_own_copy() -> None:
    teacher = tiny.Recorder(tiny.unet())
    student = tiny.make_student(teacher)
    assert not student.network.is_gradient_checkpointing  # it costs a pass, for memory
    assert all(torch.equal(v, weights(teacher)[k]) for k, v in weights(student).items())
    with torch.no_grad():
        next(student.parameters()).add_(1)
    assert not torch.equal(next(student.parameters()), next(teacher.parameters()))


def test_a_network_that_is_not_copied_becomes_the_student() -> None:
    given = tiny.Denoiser(tiny.unet().requires_grad_(False))
    student = tiny.make_student(given, copied=False)
    assert student.network is given.network
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert tiny.make_student(given, "random", copied=False).network is not given.network


def test_random_student_has_the_architecture_alone() -> None:
    teacher = tiny.Recorder(tiny.unet())
    teacher.network.bfloat16()
    student = tiny.make_student(teacher, "random")
    shapes = {name: value.shape for name, value in weights(teacher).items()}
    assert {name: value.shape for name, value in weights(student).items()} == shapes
    assert next(student.parameters()).dtype == torch.float32
    old, new = teacher.network.conv_in.weight.float(), student.network.conv_in.weight
    assert not torch.allclose(old, new, atol=1e-2)


@pytest.mark.parametrize("options", [{"init": "random"}, {"gradient_checkpointing": True}])
def test_other_modules_say_what_they_cannot(options: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="Linear"):
        tiny.make_student(tiny.Denoiser(nn.Linear(2, 2)), **options)


@pytest.mark.parametrize("distillation", ["exponential", "sds", "nfsd"])
def test_a_step_of_the_method_waits_for_nothing(distillation: str) -> None:
    """The loop reads a phase's losses once; on a GPU each further number would stop the queue."""
    task = tiny.task(distillation=distillation)
    batch = tiny.batch()
    task._place(batch.images.device)
    with Waits() as waits:
        for phase in task.phases(1):  # no step at which health is looked at
            phase.loss(batch)["loss"].backward()
        task.after_step(1)
    assert waits.seen == []
    with Waits() as waits:
        float(phase.loss(batch)["loss"])
    assert waits.seen == ["aten::_local_scalar_dense"]


def test_rates_rise_and_fall_as_the_settings_say() -> None:
    """Of four updates of warm-up and ten of decay: a factor for each update, by hand."""
    student = {"learning_rate": 1.0, "warmup_steps": 4, "decay_steps": 10}
    heads = {"learning_rate": 2.0, "decay_steps": 2}
    distillation = tiny.task(student_optimizer=student, head_optimizer=heads)
    taken = {"student": [], "heads": []}
    for _ in range(11):
        for name, rates in taken.items():
            rates.append(distillation.optimizers[name].param_groups[0]["lr"])
            distillation.optimizers[name].step()
            distillation.schedulers[name].step()
    risen = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1, 1]
    fallen = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0]
    assert taken["student"] == pytest.approx([a * b for a, b in zip(risen, fallen, strict=True)])
    assert taken["heads"] == pytest.approx([2.0, 1.0] + 9 * [0.0])
