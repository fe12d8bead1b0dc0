"""What the loop computes, against plain torch, closed forms and hand-worked cases."""

from __future__ import annotations

import builtins
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from okml.errors import ResourceError, TrainingError
from okml.training import (
    Losses,
    Phase,
    SupervisedTask,
    TensorBatches,
    TrainingSettings,
    TrainingTask,
    fit,
)
from okml.training.engine import Engine
from tests.device import DEVICE, NAME
from tests.training.tasks import BASE, ActorCritic, Noisy, all_weights

DATA = Noisy()
SOURCE = TensorBatches(DATA.x, DATA.y)


def mse(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


def linear() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(3, 1)


def settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings(**{"batch_size": 8, "max_steps": 12, "device": DEVICE} | changes)


def train(
    folder: Path, rate: float = 0.1, loss: Callable[..., Any] = mse, **changes: Any
) -> nn.Linear:
    model = linear()
    task = SupervisedTask(model, loss, torch.optim.SGD(model.parameters(), lr=rate))
    fit(task, SOURCE, settings(**changes), folder)
    return model.cpu()


def test_a_linear_model_reaches_least_squares(tmp_path: Path) -> None:
    model = train(tmp_path, batch_size=42, max_steps=400)
    design = np.column_stack([DATA.x.numpy(), np.ones(42)])
    solution = np.linalg.lstsq(design, DATA.y.numpy(), rcond=None)[0][:, 0]
    found = np.append(model.weight.detach().numpy(), model.bias.detach().numpy())
    np.testing.assert_allclose(found, solution, atol=1e-5)


def test_a_trained_network_keeps_no_gradients(tmp_path: Path) -> None:
    assert all(parameter.grad is None for parameter in train(tmp_path).parameters())


def test_weights_are_saved_as_copies_on_the_cpu() -> None:
    model = linear()
    task = SupervisedTask(model, mse, torch.optim.SGD(model.parameters(), lr=0.1))
    engine = Engine(task, settings(ema_decay=0.5))
    saved, before = engine.weights(), model.weight.detach().cpu().clone()
    assert saved.keys() == {"model", "ema.model"}
    assert {x.device.type for weights in saved.values() for x in weights.values()} == {"cpu"}
    with torch.no_grad():
        model.weight += 1
    assert torch.equal(saved["model"]["weight"], before)


def test_steps_are_those_of_plain_torch(tmp_path: Path) -> None:
    """Clipping, a schedule and averaging, against the same written out by hand."""
    model, reference = linear(), linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.5)
    task = SupervisedTask(model, mse, optimizer, scheduler=schedule)
    history = fit(
        task,
        SOURCE,
        settings(shuffle="none", gradient_clip=3.0, ema_decay=0.8, log_every=1),
        tmp_path,
    )
    average, norms, losses = None, [], []
    for step in range(12):
        rows = slice(8 * (step % 6), min(8 * (step % 6) + 8, 42))
        loss = mse(reference, (DATA.x[rows], DATA.y[rows]))
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        norm = float(torch.sqrt(sum(g.square().sum() for g in gradients)))
        with torch.no_grad():
            for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
                rate = 0.3 * 0.5 ** (step // 5)
                parameter -= rate * gradient * min(1.0, 3.0 / norm)
        losses.append(loss.item())
        norms.append(norm)
        weight = reference.weight.detach().clone()
        decay = min(0.8, (1 + step) / (10 + step))
        average = weight if average is None else decay * average + (1 - decay) * weight
    torch.testing.assert_close(model.weight.cpu(), reference.weight)
    torch.testing.assert_close(history.averaged["model"].weight.data.cpu(), average)
    np.testing.assert_allclose(history.frame["train/loss"], losses, rtol=1e-4)
    np.testing.assert_allclose(history.frame["train/gradient_norm"], norms, rtol=1e-4)
    assert history.frame["model/learning_rate"].to_list()[4:6] == pytest.approx([0.3, 0.15])
    assert max(norms) > 3.0 > min(norms)  # the limit was met on some steps only


def test_accumulation_is_the_big_batch(tmp_path: Path) -> None:
    # The last batch of an epoch has 2 examples: with two micro-batches it is one each.
    whole = train(tmp_path / "whole")
    split = train(tmp_path / "split", gradient_accumulation=2)
    torch.testing.assert_close(split.weight, whole.weight)
    # Batches of 14 divide 42, and 14 into 4 is uneven: 4, 4, 3, 3.
    even = train(tmp_path / "even", batch_size=14)
    uneven = train(tmp_path / "uneven", batch_size=14, gradient_accumulation=4)
    torch.testing.assert_close(uneven.weight, even.weight)


class Adversaries(TrainingTask):
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.critic_gradients: list[bool] = []
        modules = {"generator": nn.Linear(3, 3), "critic": nn.Linear(3, 1)}
        rates = {"generator": 0.1, "critic": 0.2}
        optimizers = {
            name: torch.optim.SGD(modules[name].parameters(), lr=rate)
            for name, rate in rates.items()
        }
        super().__init__(modules, optimizers)

    def phases(self, step: int) -> list[Phase]:
        return [
            Phase(self.critic_loss, ("critic",), "critic"),
            Phase(self.generator_loss, ("generator",), "generator"),
        ]

    def critic_loss(self, batch: tuple[Tensor, Tensor]) -> Losses:
        x, _ = batch
        fake = self.modules["generator"](x)
        loss = torch.relu(1 - self.modules["critic"](x)) + torch.relu(
            1 + self.modules["critic"](fake)
        )
        return {"loss": loss.mean()}

    def generator_loss(self, batch: tuple[Tensor, Tensor]) -> Losses:
        self.critic_gradients.append(self.modules["critic"].weight.requires_grad)
        return {"loss": -self.modules["critic"](self.modules["generator"](batch[0])).mean()}


def test_two_optimizers_against_a_loop_by_hand(tmp_path: Path) -> None:
    task, reference = Adversaries(), Adversaries()
    fit(task, SOURCE, settings(shuffle="none"), tmp_path)
    assert not any(task.critic_gradients)
    assert task.modules["critic"].weight.requires_grad
    for step in range(12):
        rows = slice(8 * (step % 6), min(8 * (step % 6) + 8, 42))
        for name, loss in (
            ("critic", reference.critic_loss),
            ("generator", reference.generator_loss),
        ):
            parameters = list(reference.modules[name].parameters())
            value = loss((DATA.x[rows], DATA.y[rows]))["loss"]
            for parameter, gradient in zip(
                parameters, torch.autograd.grad(value, parameters), strict=True
            ):
                parameter.data -= {"critic": 0.2, "generator": 0.1}[name] * gradient
    weights = all_weights(reference)
    for name, value in all_weights(task).items():
        torch.testing.assert_close(value, weights[name])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(bad: float, tmp_path: Path) -> None:
    calls = 0

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Losses:
        nonlocal calls
        calls += 1
        penalty = model.weight.square().sum() * (bad if calls == 8 else 1.0)
        return {"loss": mse(model, batch) + penalty, "penalty": penalty}

    model = linear()
    task = SupervisedTask(model, loss, torch.optim.SGD(model.parameters(), lr=0.01))
    with pytest.raises(TrainingError, match=r"step 8: .*train/penalty = ") as error:
        fit(task, SOURCE, settings(checkpoint_every=5), tmp_path)
    assert "checkpoint is of step 5" in str(error.value)
    assert "learning rate" in error.value.hint
    assert torch.isfinite(model.weight).all()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000005"]


def test_an_infinite_gradient_of_a_finite_loss_stops_the_run(tmp_path: Path) -> None:
    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return mse(model, batch) + (model.weight * 0).abs().sqrt().sum()  # d sqrt(0) = inf

    with pytest.raises(TrainingError, match="step 1: train/gradient_norm = "):
        train(tmp_path, loss=loss)


def test_early_stopping_restores_the_best(tmp_path: Path) -> None:
    scores = iter([1.0, 3.0, 2.0, 2.5, 2.9, 9.0])
    weights: list[Tensor] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        weights.append(model.weight.detach().clone())
        return {"ndcg": next(scores)}

    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    task = SupervisedTask(model, mse, optimizer, evaluate=evaluate)
    chosen = settings(max_steps=100, evaluate_every=1, monitor="ndcg", patience=3)
    history = fit(task, SOURCE, chosen, tmp_path)
    assert history.stopped_by == "early_stopping"
    assert (history.best_step, history.best_value, history.steps) == (12, 3.0, 30)
    assert torch.equal(model.weight, weights[1])
    assert not torch.equal(model.weight, weights[-1])
    again = fit(task, SOURCE, chosen, tmp_path)  # evaluates no more
    assert (again.stopped_by, again.best_step) == ("early_stopping", 12)
    assert torch.equal(model.weight, weights[1])


def test_patience_of_one_ends_a_training_at_the_first_evaluation_that_is_no_better(
    tmp_path: Path,
) -> None:
    scores, model = iter([1.0, 1.0, 9.0]), linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    task = SupervisedTask(model, mse, optimizer, evaluate=lambda _: {"ndcg": next(scores)})
    chosen = settings(max_steps=100, evaluate_every=1, monitor="ndcg", patience=1)
    history = fit(task, SOURCE, chosen, tmp_path)
    assert (history.stopped_by, history.best_step, history.steps) == ("early_stopping", 6, 12)


def test_evaluating_more_often_does_not_change_the_training(tmp_path: Path) -> None:
    tasks = {every: ActorCritic() for every in (1, 7)}
    for every, task in tasks.items():
        changes = {"evaluate_every": every, "monitor": None, "device": DEVICE}
        fit(task, DATA, BASE.model_copy(update=changes), tmp_path / str(every))
    weights = all_weights(tasks[7])
    for name, value in all_weights(tasks[1]).items():
        assert torch.equal(value, weights[name])


def test_what_ran_before_does_not_change_the_training(tmp_path: Path) -> None:
    tasks = [ActorCritic(), ActorCritic()]
    for number, task in enumerate(tasks):
        random.seed(number)
        torch.manual_seed(number)
        np.random.seed(number)  # noqa: NPY002
        fit(task, DATA, BASE.model_copy(update={"device": DEVICE}), tmp_path / str(number))
    weights = all_weights(tasks[1])
    assert all(torch.equal(v, weights[n]) for n, v in all_weights(tasks[0]).items())


def test_a_time_limit_stops_after_a_step(tmp_path: Path) -> None:
    model = linear()
    task = SupervisedTask(model, mse, torch.optim.SGD(model.parameters(), lr=0.1))
    history = fit(task, SOURCE, settings(max_steps=None, max_seconds=1e-9), tmp_path)
    assert (history.steps, history.stopped_by) == (1, "max_seconds")


def test_epochs_limit_steps(tmp_path: Path) -> None:
    model = linear()
    task = SupervisedTask(model, mse, torch.optim.SGD(model.parameters(), lr=0.1))
    history = fit(task, SOURCE, settings(max_epochs=1), tmp_path)
    assert (history.steps, history.stopped_by) == (6, "max_epochs")
    assert history.frame["epoch"].to_list() == [1.0]


def test_bf16_computes_in_bf16_and_leaves_float32_weights(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []

    class Spy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            seen.append(out.dtype)
            return out

    torch.manual_seed(3)
    model = Spy(3, 1)
    task = SupervisedTask(model, mse, torch.optim.SGD(model.parameters(), lr=0.1))
    fit(task, SOURCE, settings(mixed_precision="bf16"), tmp_path)
    assert set(seen) == {torch.bfloat16}
    assert model.weight.dtype == torch.float32
    assert model.cpu()(DATA.x).dtype == torch.float32  # accelerate's hooks are gone
    full = train(tmp_path / "full")
    torch.testing.assert_close(model.weight, full.weight, atol=0.05, rtol=0)
    assert not torch.equal(model.weight, full.weight)


@pytest.mark.skipif(NAME == "second", reason="compilers do not know it")
def test_compiled_modules_compute_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without kernels, which take seconds to build; tests of seqrec train with them, too."""
    asked: list[str] = []

    def compile_graphs(module: nn.Module, *, backend: str, **options: Any) -> Any:
        asked.append(backend)
        return with_kernels(module, backend="aot_eager", **options)

    with_kernels = torch.compile
    monkeypatch.setattr(torch, "compile", compile_graphs)
    plain = train(tmp_path / "plain")
    assert asked == []
    model = linear()
    task = SupervisedTask(model, mse, torch.optim.SGD(model.parameters(), lr=0.1))
    fit(task, SOURCE, settings(compile=True), tmp_path / "compiled")
    assert asked == ["inductor"]
    assert task.modules == {"model": model}  # and no longer what was compiled of it
    torch.testing.assert_close(model.cpu().weight, plain.weight)


def test_tensorboard_is_missed_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    train(tmp_path / "without")
    with pytest.raises(ResourceError, match="TensorBoard"):
        train(tmp_path / "with", tensorboard=True)


def test_mistakes_in_a_task_are_named(tmp_path: Path) -> None:
    model, other = linear(), linear()
    with pytest.raises(TrainingError, match="none of the modules"):
        SupervisedTask(model, mse, torch.optim.SGD(other.parameters(), lr=0.1))
    with pytest.raises(TrainingError, match="no 'loss'"):
        train(tmp_path / "a", loss=lambda m, b: {"mse": mse(m, b)})
    with pytest.raises(TrainingError, match="must be a scalar"):
        train(tmp_path / "b", loss=lambda m, b: (m(b[0]) - b[1]).square())
    task = SupervisedTask(model, mse, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(TrainingError, match="monitor 'ndcg' and the evaluation returns nothing"):
        fit(task, SOURCE, settings(monitor="ndcg"), tmp_path / "c")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_steps": None}, "at least one of max_steps"),
        ({"patience": 3}, "patience needs a metric"),
        ({"patience": 3, "monitor": "x"}, "patience needs evaluate_every"),
        ({"learning_rate": 1.0}, "Extra inputs"),
        ({"mixed_precision": "fp16"}, "'no' or 'bf16'"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**changes)


def test_without_a_folder_nothing_is_left_and_the_best_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scores = iter([2.0, 1.0])
    weights: list[Tensor] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        weights.append(model.weight.detach().clone())
        return {"score": next(scores)}

    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    task = SupervisedTask(model, mse, optimizer, evaluate=evaluate)
    history = fit(task, SOURCE, settings(evaluate_every=1, monitor="score"))
    assert history.best_step == 6
    assert torch.equal(model.weight, weights[0])
    assert list(tmp_path.iterdir()) == []
