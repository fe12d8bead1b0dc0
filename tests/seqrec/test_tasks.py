"""Encoders, losses and batches under the training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.encoder import Encoder
from okml.seqrec.losses import (
    AnyLoss,
    BinarySettings,
    ChunkedSoftmaxSettings,
    GeneralizedBinarySettings,
    InBatchSoftmaxSettings,
    SampledSoftmaxSettings,
    Softmax,
    SoftmaxSettings,
    build_loss,
)
from okml.seqrec.models import (
    NARM,
    BERT4Rec,
    Caser,
    CaserSettings,
    ClozeBatches,
    GRU4Rec,
    GRU4RecSettings,
    NARMSettings,
    bert4rec,
)
from okml.seqrec.ranking import rank_rows
from okml.seqrec.scorers import encoder_scorer
from okml.seqrec.tasks import (
    EveryPosition,
    LastTarget,
    OptimizerSettings,
    build_optimizer,
    objective_task,
    parameter_groups,
    validation,
    warmup,
)
from okml.training import History, SupervisedTask, TrainingSettings, fit, load_weights
from tests.device import GPU, needs_kernels
from tests.processes import launch
from tests.seqrec import cycle

LEARN = TrainingSettings(batch_size=8, max_epochs=60, device="cpu")  # few negatives take 40
LEARN_FAST = LEARN.model_copy(update={"max_epochs": 30})  # with every item as a negative: 5 to 15
CHUNKS = ChunkedSoftmaxSettings(chunk_bytes=200)
FAST = OptimizerSettings(learning_rate=0.02)
LOSSES = [
    SoftmaxSettings(),
    ChunkedSoftmaxSettings(chunk_bytes=200),
    SampledSoftmaxSettings(negatives=4),
    SampledSoftmaxSettings(negatives=4, alpha=1.0, shared=False),
    InBatchSoftmaxSettings(),
    BinarySettings(negatives=2),
    GeneralizedBinarySettings(negatives=4),
]


def ranks(encoder: Encoder) -> np.ndarray:
    device = encoder.item_matrix().device
    rows = cycle.held_out(encoder)
    return rank_rows(encoder_scorer(encoder.eval()), rows, device=device)


def encoder_of(task: SupervisedTask) -> Encoder:
    objective = task.modules["model"]
    assert isinstance(objective, EveryPosition)
    return objective.encoder


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_every_loss_learns_the_cycle(loss: AnyLoss) -> None:
    task, source = cycle.sasrec(loss)
    fit(task, source, LEARN)
    assert (ranks(encoder_of(task)) == 1).all()


ENCODERS = {
    "gru4rec": lambda: GRU4Rec(cycle.ITEMS, GRU4RecSettings(width=8, hidden=16)),
    "narm": lambda: NARM(cycle.ITEMS, NARMSettings(width=8, hidden=16)),
    "caser": lambda: Caser(cycle.ITEMS, CaserSettings(width=8, recent=3, dropout=0.1)),
    "bidirectional": lambda: Backbone(cycle.ITEMS, cycle.settings(causal=False)),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_learns_the_cycle_from_last_targets(name: str) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS[name]()
    source = LastTargetBatches(
        cycle.LOG, cycle.SPLIT.train, cycle.LENGTH, padding_side=encoder.padding_side
    )
    objective = LastTarget(encoder, Softmax())
    fit(objective_task(objective, build_optimizer(objective, FAST)), source, LEARN_FAST)
    assert (ranks(encoder) == 1).all()


def test_bert4rec_learns_the_cycle_from_masked_items() -> None:
    torch.manual_seed(0)
    changes = {"length": cycle.LENGTH, "width": 16, "hidden": 32, "initial_std": 0.1}
    encoder = BERT4Rec(cycle.ITEMS, bert4rec(**changes, dropout=0.1, attention_dropout=0.0))
    windows = cycle.SPLIT.training_windows(cycle.LOG, cycle.LENGTH - 1)
    source = ClozeBatches(cycle.LOG, windows, encoder.mask)
    slow = OptimizerSettings(learning_rate=0.003)
    objective = EveryPosition(encoder, Softmax())
    task = objective_task(objective, build_optimizer(objective, slow))
    fit(task, source, LEARN.model_copy(update={"max_epochs": 120}))
    assert (ranks(encoder) == 1).all()


def test_a_target_that_can_be_seen_is_refused() -> None:
    encoder = Backbone(cycle.ITEMS, cycle.settings(causal=False))
    with pytest.raises(ParameterError, match="teaches nothing"):
        EveryPosition(encoder, Softmax())


NEGATIVES = BinarySettings(negatives=2)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, fit(*cycle.sasrec(NEGATIVES), cycle.SHORT_RUN, folder)


def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, uninterrupted: tuple[Path, History]
) -> None:
    """Dropout, negatives, moving windows and a warm-up go on where they were."""
    folder, history = uninterrupted
    fit(*cycle.sasrec(NEGATIVES), cycle.SHORT_RUN.model_copy(update={"max_steps": 7}), tmp_path)
    resumed = fit(*cycle.sasrec(NEGATIVES), cycle.SHORT_RUN, tmp_path)
    found, expected = load_weights(tmp_path), load_weights(folder)
    for name, value in expected["model"].items():
        assert torch.equal(found["model"][name], value), name
    columns = ["step", "train/loss", "model/learning_rate"]
    assert resumed.frame.tail(3)[columns].equals(history.frame.tail(3)[columns])


def test_negatives_differ_from_step_to_step() -> None:
    """What the resumed run had to get right."""
    _, source = cycle.sasrec(NEGATIVES)
    rng = np.random.default_rng(0)
    first, second = (source.batch(np.arange(8), rng).negatives for _ in range(2))
    assert first is not None
    assert second is not None
    assert not torch.equal(first, second)


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trainings of two processes, one program after the other."""
    folder = tmp_path_factory.mktemp("two")
    done = launch("tests.seqrec.cycle", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(("program", "accumulation"), [("negatives", 2), ("equal", 1)])
def test_two_processes_give_the_result_of_one(
    program: str, accumulation: int, by_two: Path, tmp_path: Path
) -> None:
    """Cut alike, so that draws are alike; without draws and padding, also when not cut."""
    changes = {"gradient_accumulation": accumulation}
    alone = cycle.SHORT_RUN.model_copy(update=changes)
    fit(*cycle.sasrec(**cycle.PROGRAMS[program]), alone, tmp_path)
    found, expected = load_weights(by_two / program), load_weights(tmp_path)
    for name, value in expected["model"].items():
        # A bias of all keys changes no attention: its gradient is rounding, which Adam makes large.
        if not name.endswith("key.bias"):
            torch.testing.assert_close(found["model"][name], value, atol=1e-5, rtol=0)


def test_training_stops_when_validation_does_not_improve() -> None:
    task, source = cycle.sasrec(SoftmaxSettings())
    patient = LEARN.model_copy(
        update={"max_epochs": 500, "evaluate_every": 2, "monitor": "ndcg@10", "patience": 4}
    )
    history = fit(task, source, patient)
    assert history.stopped_by == "early_stopping"
    assert history.best_value == 1.0
    assert history.best_step is not None
    steps_between = 2 * -(-len(source) // LEARN.batch_size)
    assert history.steps == history.best_step + 4 * steps_between
    assert (ranks(encoder_of(task)) == 1).all()


def test_validation_is_the_ranking_of_the_encoder() -> None:
    task, _ = cycle.sasrec(SoftmaxSettings())
    encoder = encoder_of(task).eval()
    for hide_seen in (False, True):
        rows = cycle.held_out(encoder)
        expected = rank_rows(encoder_scorer(encoder), rows, hide_seen=hide_seen)
        found = validation(rows, hide_seen=hide_seen, ks=(2,))(task.modules["model"])
        assert found["hr@2"] == (expected <= 2).mean()


def test_weight_decay_is_of_matrices_alone() -> None:
    encoder = Backbone(cycle.ITEMS, cycle.settings(layers=1))
    decayed, kept = parameter_groups(encoder, 0.1)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in encoder.named_parameters()}
    found = {names[id(parameter)] for parameter in decayed["params"]}
    expected = {
        name for name in names.values() if name.startswith("layers") and name.endswith("weight")
    }
    assert found == {name for name in expected if "norm" not in name}
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


def test_warm_up_rises_linearly_to_the_full_rate() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.8)
    scheduler = warmup(optimizer, 4)
    assert scheduler is not None
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "backend"),
    [
        pytest.param(CHUNKS, "aot_eager", id="chunked_softmax"),
        pytest.param(CHUNKS, "inductor", marks=pytest.mark.nightly, id="chunked_softmax-kernels"),
        pytest.param(
            SoftmaxSettings(), "inductor", marks=pytest.mark.nightly, id="softmax-kernels"
        ),
    ],
)
def test_compiled_training_takes_the_same_steps(
    loss: AnyLoss, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graphs each time; at night the kernels, too, which take most of a minute to build."""

    def compile_graphs(module: nn.Module, **options: Any) -> Any:
        assert options["backend"] == "inductor"
        asked.append(module)
        return compile_module(module, **options | {"backend": backend})

    asked: list[nn.Module] = []
    compile_module = torch.compile
    monkeypatch.setattr(torch, "compile", compile_graphs)
    for compiled in (False, True):
        task, source = cycle.sasrec(loss, dropout=0.0)
        run = cycle.SHORT_RUN.model_copy(update={"compile": compiled, "max_epochs": 1})
        fit(task, source, run, tmp_path / str(compiled))
    plain, compiled = (load_weights(tmp_path / str(flag))["model"] for flag in (False, True))
    for name, value in plain.items():
        if not name.endswith("key.bias"):  # see above
            torch.testing.assert_close(compiled[name], value, atol=1e-4, rtol=0)
    assert len(asked) == 1


def test_bfloat16_learns_the_cycle() -> None:
    task, source = cycle.sasrec(ChunkedSoftmaxSettings())
    fit(task, source, LEARN_FAST.model_copy(update={"mixed_precision": "bf16"}))
    assert (ranks(encoder_of(task)) == 1).all()


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_kernels)])
def test_every_loss_learns_the_cycle_on_a_gpu(loss: AnyLoss, compiled: bool) -> None:
    task, source = cycle.sasrec(loss)
    run = {"mixed_precision": "bf16", "device": "auto", "compile": compiled}
    fit(task, source, LEARN.model_copy(update=run))
    assert (ranks(encoder_of(task)) == 1).all()


@needs_kernels
@pytest.mark.gpu
def test_training_runs_on_flash_attention_alone() -> None:
    """Padding on the right under a causal mask needs no mask, which that kernel would refuse."""
    task, source = cycle.sasrec(ChunkedSoftmaxSettings())
    objective = task.modules["model"].to(GPU)
    batch = source.batch(np.arange(len(source)), np.random.default_rng(0))
    assert batch.padded
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION), torch.autocast(GPU.type, torch.bfloat16):
        loss = objective(batch.to(GPU))
    loss.backward()
    gradients = [parameter.grad for parameter in objective.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.gpu
def test_batches_built_on_the_gpu_are_those_built_on_the_cpu() -> None:
    loss = build_loss(ChunkedSoftmaxSettings(), cycle.COUNTS)
    windows = cycle.SPLIT.training_windows(cycle.LOG, cycle.LENGTH)
    values = []
    for device in (torch.device("cpu"), GPU):
        torch.manual_seed(0)
        encoder = Backbone(cycle.ITEMS, cycle.settings(dropout=0.0)).to(device)
        source = cycle.CausalBatches(
            cycle.LOG,
            windows,
            padding_side=encoder.padding_side,
            device=device,
        )
        batch = source.batch(np.arange(len(windows)), np.random.default_rng(0))
        values.append(EveryPosition(encoder, loss)(batch).item())
    assert values[0] == pytest.approx(values[1], rel=1e-4)
