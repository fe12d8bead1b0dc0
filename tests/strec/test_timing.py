import ctypes
import subprocess
import sys
import time
import weakref
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from okml.seqrec.backbone import Backbone
from okml.seqrec.mixers import MIXERS
from okml.seqrec.settings import BackboneSettings
from okml.strec.timing import (
    peak_of,
    percentiles,
    saved_bytes,
    time_turns,
    within_memory,
)
from tests.device import GPU

CPU = torch.device("cpu")


def test_percentiles_are_of_the_rounds_that_were_finished():
    seconds = np.array([3.0, 1.0, 2.0, np.nan, np.nan])
    assert percentiles(seconds, (50, 0, 75)).tolist() == [2, 1, 2.5]
    assert np.isnan(percentiles(seconds[3:], (50, 99))).tolist() == [True, True]


def test_calls_take_turns_and_every_other_round_goes_backwards():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = time_turns(calls, 4, CPU)
    assert "".join(order) in {"abccbaabccbaabc", "cbaabccbaabccba"}
    assert [len(each) for each in seconds.values()] == [4, 4, 4]


def test_turns_count_the_work_of_the_processor_and_not_the_waiting():
    def work():
        started = time.process_time()
        while time.process_time() - started < 0.02:
            pass

    seconds = time_turns({"waits": lambda: time.sleep(0.05), "works": work}, 3, CPU)
    assert seconds["works"].min() >= 0.02
    assert seconds["waits"].max() < 0.02
    waited = time_turns({"waits": lambda: time.sleep(0.05)}, 3, CPU, time.perf_counter)
    assert waited["waits"].min() >= 0.05


PASSES = """
import resource, torch
from okml.strec.timing import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):  # passes, each with 128 MiB at a time
        blocks = [torch.ones(4 * 2**20) for _ in range(8)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
by_default = faults()
with freed_memory_kept():
    faults()
    print(by_default, faults())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs the GNU C library")
def test_memory_that_a_pass_frees_is_not_taken_anew_by_the_next_one():
    """In a process of its own, whose allocator has no history."""
    done = subprocess.run(
        [sys.executable, "-c", PASSES], capture_output=True, text=True, check=True, timeout=120
    )
    by_default, kept = map(int, done.stdout.split())
    assert kept < 100 < by_default


def test_a_call_that_runs_out_of_memory_leaves_all_times_before_it():
    asked = []

    def too_large():
        asked.append(0)
        if len(asked) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    seconds = time_turns({"small": lambda: None, "large": too_large}, 4, CPU)
    assert len(asked) == 3
    assert np.isnan(seconds["large"]).tolist() == [False, True, True, True]
    assert (seconds["small"] >= 0).all()


def test_the_memory_of_what_did_not_fit_is_free_again():
    held = []

    def too_large():
        tensor = torch.ones(3)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert within_memory(too_large, 3) == 3
    assert held[0]() is None
    assert within_memory(lambda: 5, None) == 5
    with pytest.raises(ValueError, match="other"):
        within_memory(mock.Mock(side_effect=ValueError("other")), None)


def test_saved_bytes_of_a_product_by_hand():
    # y = relu(x W): backward needs x (3 × 4) for W's gradient and relu's output (3 × 5).
    linear = nn.Linear(4, 5, bias=False)
    x = torch.randn(3, 4)
    assert saved_bytes(lambda: linear(x).relu(), linear) == 4 * (3 * 4 + 3 * 5)


def test_a_tensor_saved_twice_counts_once():
    linear = nn.Linear(4, 4, bias=False)
    x = torch.randn(3, 4)
    twice = saved_bytes(lambda: linear(x) + linear(x), linear)
    assert twice == saved_bytes(lambda: linear(x), linear) == 4 * 12


@pytest.mark.parametrize("name", [n for n, kind in MIXERS.items() if kind.supports_bidirectional])
def test_saved_bytes_are_those_that_a_real_pass_keeps(name):
    options = {} if not MIXERS[name].replaces_feed_forward else {"hidden": None, "norm": "pre"}
    settings = BackboneSettings(
        length=20, width=8, heads=2, layers=2, causal=False, mixer=name, hidden=16
    ).model_copy(update=options)
    model = Backbone(5, settings).eval()
    items, times = torch.ones(3, 20, dtype=torch.long), torch.arange(20).expand(3, -1)
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept = []

    def note(tensor):
        kept.append(tensor.untyped_storage())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(items, times, padded=False)
    real = {storage.data_ptr(): storage.nbytes() for storage in kept}
    wanted = sum(size for place, size in real.items() if place not in own)
    for only in (False, True):
        found = saved_bytes(lambda: model(items, times, padded=False), model, shapes_only=only)
        assert found == wanted > 0


def test_memory_of_attention_grows_with_the_square_of_the_length():
    settings = BackboneSettings(length=64, width=8, heads=2, layers=1, causal=False)
    model = Backbone(5, settings).eval()

    def held(n: int) -> int:
        items = torch.ones(1, n, dtype=torch.long)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return saved_bytes(lambda: model(items, padded=False), model)

    # Second differences of a quadratic a n² + b n + c at step 8 are all 2 a 64.
    second = [held(n + 16) - 2 * held(n + 8) + held(n) for n in (8, 16, 24)]
    assert second[0] == second[1] == second[2] > 0


def test_a_cpu_has_no_count_of_peak_memory():
    assert peak_of(lambda: torch.ones(10), CPU) is None


@pytest.mark.gpu
def test_peak_memory_of_a_gpu():
    found = peak_of(lambda: torch.ones(2**20, device=GPU), GPU)
    assert found == 4 * 2**20
