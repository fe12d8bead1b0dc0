"""Checkpoints that are damaged, forged, or of another run are refused."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from okml.errors import TrainingError
from okml.training import SupervisedTask, TensorBatches, TrainingSettings, fit, load_weights
from tests.training.tasks import Noisy

SOURCE = TensorBatches(Noisy().x, Noisy().y)
SETTINGS = TrainingSettings(batch_size=8, max_steps=6, checkpoint_every=3, device="cpu")


def train(
    folder: Path,
    settings: TrainingSettings = SETTINGS,
    *,
    width: int = 4,
    rate: float = 0.1,
    identity: dict[str, Any] | None = None,
    source: TensorBatches = SOURCE,
) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, width), nn.Linear(width, 1))
    task = SupervisedTask(
        model,
        lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        torch.optim.Adam(model.parameters(), lr=rate),
        identity=identity,
    )
    fit(task, source, settings, folder)
    return model


@pytest.mark.parametrize(("minutes", "kept"), [(1e-9, [3, 4, 5, 6]), (60, [6])])
def test_a_checkpoint_is_written_when_the_last_one_is_old(tmp_path, minutes, kept):
    changes = {"checkpoint_every": None, "checkpoint_minutes": minutes, "keep_checkpoints": 4}
    train(tmp_path, SETTINGS.model_copy(update=changes))
    found = sorted(path.name for path in (tmp_path / "checkpoints").glob("step_*"))
    assert found == [f"step_{step:08}" for step in kept]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    train(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (
            {"settings": SETTINGS.model_copy(update={"batch_size": 16})},
            "settings.batch_size: 8 in the checkpoint, 16 now",
        ),
        ({"width": 5}, "modules.model"),
        ({"rate": 0.2}, "optimizers.model.defaults.lr: 0.1 in the checkpoint, 0.2 now"),
        ({"identity": {"profile": "gpu"}}, "identity.profile: absent in the checkpoint, gpu now"),
        (
            {"source": TensorBatches(Noisy().x[:30], Noisy().y[:30])},
            "examples: 42 in the checkpoint, 30 now",
        ),
    ],
)
def test_another_run_is_refused(changes: dict[str, Any], difference: str, trained: Path) -> None:
    with pytest.raises(TrainingError, match="of another run") as error:
        train(trained, **changes)
    assert difference in error.value.message


def test_fewer_steps_than_taken_are_refused(trained: Path) -> None:
    with pytest.raises(TrainingError, match="at step 6 already"):
        train(trained, SETTINGS.model_copy(update={"max_steps": 4}))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["model.safetensors", "optimizers.pt", "state.pt"])
@pytest.mark.parametrize("damage", [_flip, _truncate, Path.unlink])
def test_damage_is_noticed(name: str, damage: Callable[[Path], None], trained: Path) -> None:
    newest = trained / "checkpoints" / "step_00000006"
    damage(newest / name)
    with pytest.raises(TrainingError, match="is damaged") as error:
        train(trained)
    assert str(newest) in error.value.message


@pytest.mark.parametrize("damage", [_truncate, Path.unlink])
def test_a_damaged_manifest_is_noticed(damage: Callable[[Path], None], trained: Path) -> None:
    damage(trained / "checkpoints" / "step_00000006" / "manifest.json")
    with pytest.raises(TrainingError, match="is damaged"):
        train(trained)


def test_the_advice_for_damage_works(
    trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    newest = trained / "checkpoints" / "step_00000006"
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    again = train(trained)
    fresh = train(tmp_path_factory.mktemp("fresh"))
    for a, b in zip(again.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b)


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_code_in_a_checkpoint_is_not_run(trained: Path) -> None:
    """A forged file with a right checksum: the payload would create a file."""
    target = trained / "executed"
    newest = trained / "checkpoints" / "step_00000006"
    pickle.loads(pickle.dumps(_Payload(target)))
    assert target.exists()  # the payload works
    target.unlink()
    torch.save({"schedulers": _Payload(target)}, newest / "state.pt")
    manifest = json.loads((newest / "manifest.json").read_text())
    manifest["files"]["state.pt"] = hashlib.sha256((newest / "state.pt").read_bytes()).hexdigest()
    (newest / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TrainingError, match="more than tensors"):
        train(trained)
    assert not target.exists()


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.b(self.a(x)).sum(1, keepdim=True)
            return out

    def run(folder: Path, steps: int) -> Tied:
        model = Tied()
        task = SupervisedTask(
            model,
            lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
            torch.optim.Adam(model.parameters()),
        )
        fit(task, SOURCE, SETTINGS.model_copy(update={"max_steps": steps}), folder)
        return model

    run(tmp_path / "a", 4)
    resumed = run(tmp_path / "a", 8)
    assert resumed.a.weight is resumed.b.weight
    assert torch.equal(resumed.a.weight, run(tmp_path / "b", 8).a.weight)


def test_loading_weights_says_what_is_missing(trained: Path, tmp_path: Path) -> None:
    model = train(trained)
    saved = load_weights(trained)["model"]
    assert torch.equal(saved["0.weight"], model[0].weight)  # type: ignore[index]
    assert not torch.equal(load_weights(trained, 3)["model"]["0.weight"], saved["0.weight"])
    with pytest.raises(TrainingError, match="no best"):
        load_weights(trained, "best")
    with pytest.raises(TrainingError, match=r"no checkpoint of step 5: \[3, 6\]"):
        load_weights(trained, 5)
    with pytest.raises(TrainingError, match="There is no checkpoint"):
        load_weights(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["step_backup", "step_6", "step_00000009 2", "step_", "step_-1"])
def test_what_is_no_checkpoint_is_left_alone(name: str, trained: Path) -> None:
    (trained / "checkpoints" / name).mkdir()
    train(trained, SETTINGS.model_copy(update={"max_steps": 8}))
    assert (trained / "checkpoints" / name).is_dir()
    assert load_weights(trained, 8)


@pytest.mark.parametrize(
    "change",
    [
        {"../../outside.safetensors": "0" * 64},
        {"/etc/hostname": "0" * 64},
        {"..": "0" * 64},
        {"": "0" * 64},
        {"a/b.safetensors": "0" * 64},
        {"state.pt": None},
        {"optimizers.pt": None},
        {"missing.safetensors": "0" * 64},
    ],
    ids=lambda change: next(iter(change)) or "empty",
)
def test_a_manifest_names_files_of_its_folder(change: dict[str, Any], trained: Path) -> None:
    (trained / "outside.safetensors").write_bytes(b"")
    path = trained / "checkpoints" / "step_00000006" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] |= change
    manifest["files"] = {name: value for name, value in manifest["files"].items() if value}
    path.write_text(json.dumps(manifest))
    with pytest.raises(TrainingError, match="step_00000006 is damaged"):
        load_weights(trained)


@pytest.mark.parametrize("content", [b"{}\n{\n", b"[]\n", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_a_damaged_log_of_a_training_is_named(content: bytes, trained: Path) -> None:
    (trained / "metrics.jsonl").write_bytes(content)
    with pytest.raises(TrainingError, match=r"metrics\.jsonl is damaged"):
        train(trained, SETTINGS.model_copy(update={"max_steps": 8}))
