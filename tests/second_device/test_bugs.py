"""Mistakes that only a device other than the CPU shows; each is put in, and a test must see it."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from okml.errors import ParameterError
from tests import test_accelerator
from tests.device import GPU, NAME
from tests.seqrec import test_batches, test_negatives, test_ranking
from tests.seqrec.models import test_encoders
from tests.space_time import test_extract
from tests.training import test_fit, test_resume

pytestmark = pytest.mark.skipif(NAME != "second", reason="needs OKML_TEST_DEVICE=second")


@dataclass(frozen=True)
class Bug:
    """Text of a function of okml, what stands there instead, and a test that must fail."""

    function: str
    text: str
    instead: str
    test: Callable[..., object]
    given: tuple[Any, ...] = ()


BUGS = {
    "weights are not copied to the CPU": Bug(
        "okml.training.engine._copied", '.to("cpu", copy=True)', "",
        test_fit.test_weights_are_saved_as_copies_on_the_cpu,
    ),
    "a table stays on the CPU": Bug(
        "okml.seqrec.batches.FlatEvents.__init__", "interactions.items).to(device)",
        "interactions.items)",
        test_batches.test_batches_built_on_a_gpu_and_sent_to_it_are_those_of_the_cpu,
    ),
    "NumPy reads a tensor of the device": Bug(
        "okml.seqrec.ranking.rank_rows", "half.cpu().numpy()", "half.numpy()",
        test_ranking.test_ranks_on_a_gpu_are_those_of_the_cpu, (GPU,),
    ),
    "a generator is of the CPU": Bug(
        "okml.seqrec.negatives.NegativeSampler.for_targets", "torch.Generator(targets.device)",
        "torch.Generator()", test_negatives.test_draws_on_a_gpu_avoid_too,
    ),
    "a copy is read before it has arrived": Bug(
        "okml.space_time.extract.iter_states", "synchronize(lm.device)", "pass",
        test_extract.test_states_of_a_gpu_are_those_of_the_cpu,
    ),
    "the device's generator is not saved": Bug(
        "okml.accelerator.random_states", "range(module.device_count())", "range(0)",
        test_resume.test_interrupting_and_going_on, (6,),
    ),
    "cuDNN's GRU returns float16": Bug(
        "okml.seqrec.models.gru4rec.run_gru", "enabled=False", "enabled=True",
        test_encoders.test_bfloat16_on_a_gpu, ("narm",),
    ),
    "a fork leaves the device's generator out": Bug(
        "okml.accelerator.forked_rng", "devices=range(cards)", "devices=[]",
        test_accelerator.test_the_generators_of_the_card_are_forked_and_restored,
    ),
}  # fmt: skip


def found(module: types.ModuleType, path: str) -> types.FunctionType:
    """Return a function or method of a module, without its decorators."""
    thing: Any = module
    for name in path.split("."):
        thing = getattr(thing, name)
    return inspect.unwrap(thing)


@contextmanager
def put_in(bug: Bug) -> Iterator[None]:
    """Run with a bug: whoever holds the function runs its other code."""
    parts = bug.function.split(".")
    length = max(n for n in range(1, len(parts)) if ".".join(parts[:n]) in sys.modules)
    module, path = import_module(".".join(parts[:length])), ".".join(parts[length:])
    source = inspect.getsource(module)
    function = found(module, path)
    right = inspect.getsource(function)
    assert right.count(bug.text) == 1, f"{bug.function} has no {bug.text!r}"
    wrong = types.ModuleType(module.__name__)
    wrong.__dict__["__file__"] = module.__file__
    text = source.replace(right, right.replace(bug.text, bug.instead))
    exec(compile(text, f"{module.__file__} with a bug", "exec"), wrong.__dict__)
    code = function.__code__
    function.__code__ = found(wrong, path).__code__
    try:
        yield
    finally:
        function.__code__ = code


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_caught(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    bug = BUGS[name]
    wanted = list(inspect.signature(bug.test).parameters)[len(bug.given) :]
    given = {each: request.getfixturevalue(each) for each in wanted}
    folders = {each: tmp_path / "right" for each in wanted if each == "tmp_path"}
    bug.test(*bug.given, **given | folders)  # it passes without the bug
    with put_in(bug), pytest.raises((AssertionError, RuntimeError, TypeError, ParameterError)):
        bug.test(*bug.given, **given)
