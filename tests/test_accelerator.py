"""The layer over the accelerators, and that no other file asks which of them it is."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

import okml
from okml import accelerator
from okml.accelerator import (
    advice,
    allocated_bytes,
    forked_rng,
    gpus,
    has_flex_attention,
    has_float64,
    has_pinned_memory,
    peak_bytes,
    pick_device,
    release_memory,
    require_float64,
    reset_peak,
    seconds_of,
    setting_for,
    upload,
)
from okml.errors import ResourceError
from okml.settings import DeviceName
from okml.training.rng import random_state, restore_random_state
from tests.device import GPU

CPU = torch.device("cpu")
KINDS = ("cuda", "xpu", "mps")
PACKAGE = Path(okml.__file__).parent
# Names by which code asks for one kind of accelerator, in torch and in other libraries.
VENDOR = {*KINDS, "is_cuda", "is_xpu", "is_mps", "cudnn", "hip", "nvtx"}


def named(tree: ast.AST) -> Iterator[str]:
    """Yield the names of accelerators in code; sentences are free to explain them."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.keyword(arg=str(name)):
                words = [name]
            case ast.Constant(value=str(text)):
                words = [text.partition(":")[0]]
            case _:
                continue
        yield from (word for word in words if word.lower() in VENDOR)


def test_no_other_file_names_an_accelerator() -> None:
    found = {
        str(path.relative_to(PACKAGE)): sorted(set(named(ast.parse(path.read_text()))))
        for path in PACKAGE.rglob("*.py")
    }
    assert found.pop("accelerator.py")
    assert {name: words for name, words in found.items() if words} == {
        "settings.py": sorted(set(get_args(DeviceName)) & VENDOR)
    }


@pytest.mark.parametrize("code", ["torch.cuda.x()", 'a == "xpu"', 'f("cuda:1")', "t.is_cuda"])
def test_the_count_sees_each_way_of_naming_one(code: str) -> None:
    assert [*named(ast.parse(code))]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets what torch finds on this machine."""

    def found(kind: str | None) -> None:
        here = None if kind is None else torch.device(kind)
        monkeypatch.setattr(accelerator, "accelerator", lambda: here)

    return found


@pytest.mark.parametrize("kind", KINDS)
def test_auto_takes_the_accelerator_that_is_there(machine: Any, kind: str) -> None:
    machine(kind)
    assert pick_device("auto") == pick_device(kind) == torch.device(kind)
    assert pick_device("cpu") == CPU
    assert setting_for(pick_device("auto")) == "auto"
    other = KINDS[KINDS.index(kind) - 1]
    with pytest.raises(ResourceError, match=f"{other}.*{kind}"):
        pick_device(other)


def test_a_machine_without_one_computes_on_the_cpu_unless_asked_otherwise(machine: Any) -> None:
    machine(None)
    assert pick_device("auto") == CPU
    assert setting_for(CPU) == "cpu"
    for kind in KINDS:
        with pytest.raises(ResourceError, match="no accelerator") as caught:
            pick_device(kind)
        assert "--device cpu" in caught.value.hint


@pytest.mark.parametrize(
    ("built", "said"),
    [({"cuda": "13.0"}, "nvidia-smi"), ({"hip": "7.0"}, "rocm-smi"), ({"xpu": "2025"}, "xpu-smi"),
     ({}, "install one")],
)  # fmt: skip
def test_the_advice_depends_on_what_torch_was_built_for(
    monkeypatch: pytest.MonkeyPatch, built: dict[str, str], said: str
) -> None:
    for name in ("cuda", "hip", "xpu"):
        monkeypatch.setattr(torch.version, name, built.get(name))
    assert said in advice()


def test_float64_is_refused_in_one_sentence_where_it_is_lacking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert has_float64(CPU)
    assert has_float64(torch.device("cuda"))
    for lacks in (True, False):  # of Intel's cards some have it
        monkeypatch.setattr(
            torch.xpu,
            "get_device_properties",
            lambda _, lacks=lacks: SimpleNamespace(has_fp64=not lacks),
        )
        assert has_float64(torch.device("xpu")) is not lacks
    require_float64(CPU, "Probes")
    with pytest.raises(ResourceError, match=r"^Probes need float64, which the device 'mps' lacks"):
        require_float64(torch.device("mps"), "Probes")


def test_what_each_kind_can_do() -> None:
    devices = [torch.device(kind) for kind in ("cpu", *KINDS)]
    for can in (has_pinned_memory, has_flex_attention):
        assert [device.type for device in devices if can(device)] == ["cuda", "xpu"]


def test_a_cpu_has_no_memory_of_its_own_and_its_time_is_a_clocks() -> None:
    assert allocated_bytes(CPU) is peak_bytes(CPU) is None
    times = iter([1.0, 3.5])
    assert seconds_of(lambda: None, CPU, lambda: next(times)) == 2.5
    tensor = torch.ones(2)
    assert upload(tensor, CPU) is tensor


class Cards:
    """A kind of accelerator with two cards, as torch's module for it: each has a generator."""

    def __init__(self) -> None:
        self.generators = [torch.Generator().manual_seed(card) for card in range(2)]

    def device_count(self) -> int:
        return len(self.generators)

    def get_rng_state(self, card: int) -> Tensor:
        return self.generators[card].get_state()

    def set_rng_state(self, state: Tensor, card: int) -> None:
        self.generators[card].set_state(state)

    def draw(self) -> list[float]:
        return [torch.rand(1, generator=generator).item() for generator in self.generators]


@pytest.fixture(params=KINDS)
def cards(request: pytest.FixtureRequest, machine: Any, monkeypatch: pytest.MonkeyPatch) -> Cards:
    machine(request.param)
    made = Cards()
    monkeypatch.setattr(torch, "get_device_module", lambda _: made)
    monkeypatch.setattr(torch.accelerator, "device_count", made.device_count)
    return made


def test_the_state_of_every_card_is_saved_and_restored(cards: Cards) -> None:
    state = random_state()
    first = cards.draw()
    assert cards.draw() != first
    restore_random_state(state)
    assert cards.draw() == first


def test_a_fork_covers_every_card(cards: Cards) -> None:
    state = random_state()
    expected = cards.draw(), random.random()
    restore_random_state(state)
    with forked_rng():
        cards.draw()
        torch.rand(1)
    assert (cards.draw(), random.random()) == expected


def test_a_checkpoint_of_one_cuda_card_still_loads(machine: Any, cards: Cards) -> None:
    machine("cuda")
    state = random_state()
    old = state | {"cuda": state.pop("accelerator")["states"][0]}
    first = cards.draw()
    restore_random_state(old)
    assert cards.draw()[0] == first[0]
    restore_random_state(old | {"cuda": None})  # of a run on a CPU


def test_states_of_another_kind_are_left_alone(machine: Any, cards: Cards) -> None:
    machine("cuda")
    state = random_state()
    machine("xpu")
    cards.draw()
    expected = [generator.get_state() for generator in cards.generators]
    restore_random_state(state)
    for generator, before in zip(cards.generators, expected, strict=True):
        assert torch.equal(generator.get_state(), before)


@pytest.mark.gpu
def test_the_generators_of_the_card_are_forked_and_restored() -> None:
    state = random_state()
    expected = torch.rand(3, device=GPU)
    restore_random_state(state)
    with forked_rng():
        torch.manual_seed(1)
        torch.rand(3, device=GPU)
    assert torch.equal(torch.rand(3, device=GPU), expected)


@pytest.mark.gpu
def test_memory_of_the_card_is_counted() -> None:
    reset_peak(GPU)
    before = allocated_bytes(GPU)
    held = torch.zeros(2**20, device=GPU)
    assert allocated_bytes(GPU) - before == held.nbytes
    del held
    release_memory()
    assert allocated_bytes(GPU) == before
    assert peak_bytes(GPU) - before == 2**22


@pytest.mark.gpu
def test_uploads_and_times_of_the_card() -> None:
    numbers = torch.arange(4)
    there = upload(numbers, GPU)
    assert there.device.type == GPU.type
    assert torch.equal(there.cpu(), numbers)
    assert seconds_of(lambda: there + there, GPU) > 0
    assert [card.memory_gib > 1 for card in gpus()][:1] == [True]
