"""The second device computes what the CPU does, and refuses what a GPU refuses."""

from __future__ import annotations

import copy
import gc
import io
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from okml import accelerator
from okml.errors import ResourceError
from okml.space_time.ridge import fit_ridge
from tests.device import NAME
from tests.seqrec import test_ranking

pytestmark = pytest.mark.skipif(NAME != "second", reason="needs OKML_TEST_DEVICE=second")
HERE = "second"


def x() -> Tensor:
    return torch.arange(12.0).view(3, 4).to(HERE)


REFUSED: dict[str, tuple[type[Exception], str, Callable[[], object]]] = {
    "two devices": (RuntimeError, "two devices", lambda: x() + torch.ones(3, 4)),
    "a number in cat": (RuntimeError, "two devices", lambda: torch.cat([x()[0], torch.ones(1)])),
    "a result on the CPU": (RuntimeError, "two devices", lambda: torch.ones(3, 4).add_(x())),
    "indices of another device": (RuntimeError, "two devices", lambda: torch.ones(12)[x().long()]),
    "values of another device": (
        RuntimeError, "two devices", lambda: x().__setitem__(torch.tensor([0]), torch.ones(1, 4)),
    ),
    "an embedding": (
        RuntimeError, "two devices", lambda: nn.Embedding(3, 2).to(HERE)(torch.ones(1).long()),
    ),
    "NumPy": (TypeError, "cpu", lambda: x().numpy()),
    "an array": (TypeError, "cpu", lambda: np.asarray(x())),
    "another generator": (
        RuntimeError, "generator", lambda: torch.rand(2, device=HERE, generator=torch.Generator()),
    ),
    "products of integers": (RuntimeError, "not implemented", lambda: x().long() @ x().long().T),
    "a histogram": (NotImplementedError, "kernel", lambda: torch.histogram(x().flatten(), 3)),
    "pinning": (RuntimeError, "CPU", lambda: x().pin_memory()),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_gpu_refuses(what: str) -> None:
    error, message, call = REFUSED[what]
    with pytest.raises(error, match=message):
        call()


ALLOWED: dict[str, Callable[[Any], Tensor]] = {
    "a number of the CPU": lambda at: x().to(at) * torch.tensor(2.0),
    "indices of the CPU": lambda at: x().to(at)[torch.tensor([2, 0])],
    "views": lambda at: x().to(at).t()[1:].reshape(-1).view(3, 3)[:, 1],
    "in place": lambda at: x().to(at).unsqueeze_(0).squeeze_().mul_(3).t_(),
    "out": lambda at: torch.add(x().to(at), 1, out=torch.empty(0, device=at)),
    "made there": lambda at: torch.arange(5, device=at) + torch.tensor([1, 2, 3, 4, 5], device=at),
    "attention": lambda at: nn.functional.scaled_dot_product_attention(*[x().to(at)[None]] * 3),
    "inference": lambda at: torch.inference_mode()(lambda: (x().to(at) @ x().to(at).T)[1:])(),
    "fft": lambda at: torch.fft.rfft(x().to(at)).abs(),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_numbers_are_those_of_the_cpu(what: str) -> None:
    there = ALLOWED[what](HERE)
    assert there.device == torch.device("second:0") != torch.device("second")
    torch.testing.assert_close(there.cpu(), ALLOWED[what]("cpu"))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.TransformerEncoderLayer])
def test_gradients_are_those_of_the_cpu(kind: Any) -> None:
    torch.manual_seed(0)
    made = (
        kind(4, 4, batch_first=True) if kind is not nn.TransformerEncoderLayer else kind(4, 2, 8, 0)
    )
    gradients = []
    for at in ("cpu", HERE):
        made.zero_grad()
        out = made.to(at)(x().to(at)[None])
        (out[0] if isinstance(out, tuple) else out).square().sum().backward()
        gradients.append([parameter.grad.cpu().clone() for parameter in made.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_module_that_moves_keeps_its_parameters_and_its_ties() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    before = model[0].weight
    model.to(HERE)
    assert model[0].weight is model[1].weight is before
    assert isinstance(before, nn.Parameter)
    clone = copy.deepcopy(model)
    assert clone[0].weight is clone[1].weight is not before
    assert torch.equal(clone[0].weight, before)


def test_saved_tensors_load_where_they_are_wanted() -> None:
    file = io.BytesIO()
    torch.save(nn.Linear(3, 3).to(HERE).state_dict(), file)
    for where, kind in (("cpu", "cpu"), (None, HERE)):
        file.seek(0)
        loaded = torch.load(file, map_location=where, weights_only=True)
        assert loaded["weight"].device.type == kind


def test_the_devices_draw_from_generators_of_their_own() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2), torch.rand(2, device=HERE)
    torch.manual_seed(0)
    there = nn.functional.dropout(torch.rand(2, device=HERE), 0.0)
    assert torch.equal(there, expected[1])
    assert torch.equal(torch.rand(2), expected[0])
    own = torch.Generator(HERE)
    assert isinstance(own, torch.Generator)
    draws = [torch.randn(3, generator=own.manual_seed(1), device=HERE) for _ in range(2)]
    assert torch.equal(*draws)


def test_autocast_casts_as_on_cuda() -> None:
    linear = nn.Linear(4, 4).to(HERE)
    with torch.autocast(HERE, torch.bfloat16):
        out = linear(x())
        assert out.dtype == torch.bfloat16
        assert out.softmax(-1).dtype == nn.functional.layer_norm(out, (4,)).dtype == torch.float32
        with pytest.raises(RuntimeError, match="unsafe"):
            nn.functional.binary_cross_entropy(x() / 12, x() / 12)
        states, last = nn.GRU(4, 2).to(HERE)(x())
        assert states.dtype == last.dtype == torch.float16
        with torch.autocast(HERE, enabled=False):
            assert linear(x()).dtype == torch.float32
    out.sum().backward()
    assert linear.weight.grad.dtype == torch.float32


def test_a_copy_to_pinned_memory_arrives_late() -> None:
    buffer = torch.empty(3, 4, pin_memory=True)
    buffer[1].copy_(x()[1], non_blocking=True)
    assert buffer[1].isnan().all()
    torch.accelerator.synchronize()
    assert torch.equal(buffer[1], x()[1].cpu())


def test_memory_is_that_of_the_storages() -> None:
    gc.collect()
    before = torch.accelerator.memory_allocated()
    torch.accelerator.reset_peak_memory_stats()
    held = torch.zeros(1024, device=HERE)
    view = held[3:]
    assert torch.accelerator.memory_allocated() - before == 4096
    del held
    assert torch.accelerator.memory_allocated() - before == 4096
    del view
    assert torch.accelerator.memory_allocated() == before
    assert torch.accelerator.max_memory_allocated() - before == 4096


def test_a_device_without_float64_ranks_and_refuses_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As MPS, which raises TypeError where a tensor would be float64."""
    on_second = import_module("tests.second_device.device").OnSecond
    made = on_second.__new__

    def without_float64(cls: type, held: Tensor) -> Tensor:
        if held.dtype == torch.float64:
            raise TypeError("The device does not support float64.")
        return made(cls, held)

    monkeypatch.setattr(on_second, "__new__", staticmethod(without_float64))
    monkeypatch.setattr(accelerator, "has_float64", lambda device: device.type != HERE)
    test_ranking.test_ranks_on_a_gpu_are_those_of_the_cpu(torch.device(HERE))
    with pytest.raises(ResourceError, match="Probes need float64"):
        fit_ridge(np.eye(4), np.eye(4)[:, :1], device=HERE)
