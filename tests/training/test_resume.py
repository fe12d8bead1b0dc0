"""A run that was stopped in any way ends exactly like one that was not."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from okml.training import SupervisedTask, TensorBatches, TrainingSettings, fit, load_weights
from okml.training.history import History
from tests.device import DEVICE
from tests.processes import run
from tests.training.tasks import BASE, ActorCritic, Noisy, all_weights

HERE = BASE.model_copy(update={"device": DEVICE})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[ActorCritic, History]:
    task = ActorCritic()
    return task, fit(task, Noisy(), HERE, tmp_path_factory.mktemp("uninterrupted"))


def assert_same_run(
    task: ActorCritic, history: History, expected: tuple[ActorCritic, History]
) -> None:
    other, other_history = expected
    weights = all_weights(task)
    for name, value in all_weights(other).items():
        assert torch.equal(weights[name], value), name
    for name, average in other_history.averaged.items():
        for key, value in average.state_dict().items():
            assert torch.equal(history.averaged[name].state_dict()[key], value), f"{name}.{key}"
    assert task.examples == other.examples
    frames = [h.frame.drop("seconds").sort("step") for h in (history, other_history)]
    columns = sorted(frames[1].columns)
    assert frames[0].select(columns).equals(frames[1].select(columns))


def test_the_reference_run_trains(uninterrupted: tuple[ActorCritic, History]) -> None:
    task, history = uninterrupted
    errors = history.frame["error"].drop_nulls()
    assert errors[-1] < 0.7 * errors[0]
    assert history.steps == 23
    assert task.examples == 3 * 42 + 5 * 8
    assert history.frame["step"].to_list() == list(range(1, 24))


@pytest.mark.parametrize("stop", [1, 6, 10, 22])
def test_interrupting_and_going_on(
    stop: int, tmp_path: Path, uninterrupted: tuple[ActorCritic, History]
) -> None:
    first = ActorCritic()
    first.kill_at_step, first.signal = stop, signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        fit(first, Noisy(), HERE, tmp_path)
    second = ActorCritic()
    history = fit(second, Noisy(), HERE, tmp_path)
    assert_same_run(second, history, uninterrupted)
    batches = first.seen + second.seen
    assert len(batches) == 23
    assert all(torch.equal(a, b) for a, b in zip(batches, uninterrupted[0].seen, strict=True))


def test_sigterm_writes_a_checkpoint_and_exits(
    tmp_path: Path, uninterrupted: tuple[ActorCritic, History]
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    first = ActorCritic()
    first.kill_at_step, first.signal = 11, signal.SIGTERM
    with pytest.raises(SystemExit) as stop:
        fit(first, Noisy(), HERE, tmp_path)
    assert stop.value.code == 143
    assert (tmp_path / "checkpoints" / "step_00000011").is_dir()
    assert signal.getsignal(signal.SIGTERM) is handler
    second = ActorCritic()
    assert_same_run(second, fit(second, Noisy(), HERE, tmp_path), uninterrupted)


@pytest.mark.parametrize(
    ("option", "number"),
    [("--kill-at-step", 2), ("--kill-at-step", 17), ("--kill-at-sync", 22)],
)
def test_kill_9(
    option: str, number: int, tmp_path: Path, uninterrupted: tuple[ActorCritic, History]
) -> None:
    done = run("tests.training.tasks", tmp_path, option, number)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = sorted(path.name for path in (tmp_path / "checkpoints").glob("*"))
    if option == "--kill-at-sync":  # died while it wrote
        assert any(name.startswith(".unfinished") for name in left), left
    task = ActorCritic()
    assert_same_run(task, fit(task, Noisy(), HERE, tmp_path), uninterrupted)
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert not any(name.startswith(".") for name in names)


WRITES = [
    pytest.param(number, marks=() if number % 20 == 1 else pytest.mark.nightly)
    for number in range(1, 60)
]


@pytest.mark.parametrize("number", WRITES)
def test_kill_9_at_any_write(
    number: int, tmp_path: Path, uninterrupted: tuple[ActorCritic, History]
) -> None:
    done = run("tests.training.tasks", tmp_path, "--kill-at-sync", number)
    assert done.returncode == -signal.SIGKILL, done.stderr
    task = ActorCritic()
    assert_same_run(task, fit(task, Noisy(), HERE, tmp_path), uninterrupted)


def test_a_finished_run_is_loaded_and_not_trained_again(
    tmp_path: Path, uninterrupted: tuple[ActorCritic, History]
) -> None:
    fit(ActorCritic(), Noisy(), HERE, tmp_path)
    log = (tmp_path / "metrics.jsonl").read_bytes()
    task = ActorCritic()
    history = fit(task, Noisy(), HERE, tmp_path)
    assert task.seen == []
    assert_same_run(task, history, uninterrupted)
    assert (tmp_path / "metrics.jsonl").read_bytes() == log


def test_more_steps_extend_a_run(tmp_path: Path) -> None:
    """Training to 9 and then to 15 is training to 15."""

    def train(folder: Path, steps: int) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        task = SupervisedTask(model, loss, torch.optim.Adam(model.parameters()))
        fit(task, source, TrainingSettings(batch_size=8, max_steps=steps, device=DEVICE), folder)
        return model

    def loss(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return (model(batch[0]) - batch[1]).square().mean()

    source = TensorBatches(Noisy().x, Noisy().y)
    train(tmp_path / "a", 9)
    extended = train(tmp_path / "a", 15)
    straight = train(tmp_path / "b", 15)
    assert torch.equal(extended.weight, straight.weight)


def test_a_torn_last_line_is_dropped(
    tmp_path: Path, uninterrupted: tuple[ActorCritic, History]
) -> None:
    first = ActorCritic()
    first.kill_at_step, first.signal = 7, signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        fit(first, Noisy(), HERE, tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 8, "critic/loss": -1.0}) + "\n" + '{"step": 9, "cri')
    task = ActorCritic()
    assert_same_run(task, fit(task, Noisy(), HERE, tmp_path), uninterrupted)


def test_checkpoints_are_pruned_and_the_best_stays(tmp_path: Path) -> None:
    task = ActorCritic()
    changes = {"keep_checkpoints": 2, "mode": "max"}  # the error falls, so the first is the best
    history = fit(task, Noisy(), HERE.model_copy(update=changes), tmp_path)
    steps = sorted(int(p.name[5:]) for p in (tmp_path / "checkpoints").iterdir())
    assert steps == [4, 21, 23]
    assert history.best_step == 4
    best = load_weights(tmp_path, "best")
    assert torch.equal(best["critic"]["0.weight"], task.modules["critic"][0].weight.cpu())
    assert "ema.critic" in best
