"""Whatever runs while a step computes counts in its key: the walk, checked against what happens."""

import functools
import sys
from unittest import mock

import pytest

from okml import experiment
from okml.code_key import package_sources
from okml.steps import Steps
from okml.strec.experiment import Experiment
from okml.training import ahead
from tests.profiles import changed
from tests.second_device.smallest import small_strec
from tests.strec.tiny import in_few_calls, put_logs, tiny
from tests.tools.own_data import OwnData

pytestmark = pytest.mark.slow


class Watching(Steps):
    """Notes each function of okml that runs while a step computes."""

    def __init__(self, *given):
        super().__init__(*given)
        self.ran, self.counted = {}, {}

    def __call__(self, name, compute, *given, **named):
        ran, known = self.ran.setdefault(name, set()), {}  # known: by id, to be kept alive

        def note(frame, event, argument):
            code, module = frame.f_code, module_of(frame)
            if id(code) in known:
                return
            if not module.startswith("okml."):
                known[id(code)] = code
            elif not is_called_by_the_way(frame):
                known[id(code)] = code
                ran.add((module, code.co_qualname))

        @functools.wraps(compute)
        def watched(*arguments, **more):
            sys.settrace(note)
            try:
                return compute(*arguments, **more)
            finally:
                sys.settrace(None)

        self.counted[name] = self._needs(compute, (given, named)).code
        return super().__call__(name, watched, *given, **named)


def module_of(frame):
    return frame.f_globals.get("__name__") or ""


def is_called_by_the_way(frame):
    """Tell whether a caller makes no number, such as a log: nor does what it asks."""
    while module_of(frame) != __name__:  # where the step begins
        module = module_of(frame)
        if module.startswith("okml.") and not package_sources().makes_numbers(module):
            return True
        frame = frame.f_back
    return False


def part_of(module, qualified_name):
    """Return the full name of the function, method or class that some code belongs to."""
    names = qualified_name.split(".<locals>")[0].split(".")
    parts = package_sources().module(module).parts
    for length in range(len(names), 0, -1):
        if ".".join(names[:length]) in parts:
            return ".".join([module, *names[:length]])
    return None  # a lambda of a constant, which counts as that


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    # One training of each kind, on three layers instead of eight.
    whole, small = tiny(), small_strec()
    modern, faithful = whole.recipes
    shifted = changed(faithful.relaxation, shifts=faithful.relaxation.shifts[-3:])
    profile = changed(
        small, extra_rankings=("content",), mixers=("informer", "flash", "hstu"),
        references=("gru4rec", "bert4rec", "mamba4rec"), mixed_precision=whole.mixed_precision,
        recipes=(modern, changed(faithful, relaxation=shifted)),
    )  # fmt: skip
    with (
        in_few_calls(),
        pytest.MonkeyPatch.context() as patch,
        mock.patch.object(ahead, "usable_cores", return_value=1),
        mock.patch.object(experiment, "Steps", Watching),
    ):
        put_logs(OwnData(tmp_path_factory.mktemp("data"), patch))
        run = Experiment(profile, tmp_path_factory.mktemp("strec"))
        _ = run.data, run.operations, run.quality, run.efficiency
        return run.steps


@pytest.mark.parametrize("name", ["data", "operations", "quality", "efficiency"])
def test_all_that_runs_counts(steps, name):
    numbers = package_sources().makes_numbers
    ran = {part_of(*code) for code in steps.ran[name]} - {None}
    assert len(ran) > 5
    assert {part for part in ran if numbers(part)} <= steps.counted[name].keys()
