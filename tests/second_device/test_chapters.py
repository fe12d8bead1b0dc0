"""On another device every chapter measures what it measures on the CPU.

The device is an accelerator, or the second device, on which ``test_second_device`` runs this file.
"""

from __future__ import annotations

import gc
import tempfile
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu import parts
from okml.profile import Profile
from okml.seqrec.dropout import Dropout
from okml.training import ahead
from tests.device import GPU, NAME
from tests.second_device.smallest import LONG, QUICK, SMALLEST, TIMED, small_strec
from tests.strec.tiny import in_few_calls

TOLERANCE = 2e-4  # the largest difference was 8e-5, in add
# Parts of `make gpu-check` that need no data: the others are tests and smoke runs of chapters.
COMPUTES = ("sdxl", "llama", "strec", "sasrec", "lightsage")
FEWEST = {"periodic_behavior": 16}  # numbers of a chapter, where they are few
pytestmark = [pytest.mark.gpu, pytest.mark.slow]


def same_dropout(self: Dropout, x: Tensor) -> Tensor:
    """Draw as torch does: okml's own way, which a CPU needs, draws other numbers."""
    return nn.functional.dropout(x, self.p, self.training)


def numbers(profile: Profile, device: str) -> dict[str, list[float]]:
    """Return the measurements of all steps of a run on a device."""
    experiment = import_module(f"okml.{profile.chapter}.experiment").Experiment
    gc.freeze()  # each training ends with a collection of garbage, of which libraries are none
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(ahead, "usable_cores", return_value=1),
        mock.patch.object(Dropout, "forward", same_dropout),
        sdpa_kernel(SDPBackend.MATH),  # the CPU has a kernel of its own, which rounds differently
    ):
        made = experiment(profile.override({"device": device}), Path(folder)).record()
    assert made.provenance.device == ("cpu" if device == "cpu" else GPU.type)
    return {name: [float(x) for x in metric.numbers] for name, metric in made.metrics.items()}


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.nightly) for name in LONG)]
)
def test_a_chapter_measures_what_it_does_on_the_cpu(name: str, tmp_path: Path) -> None:
    with SMALLEST[name](tmp_path) as profile:
        on_cpu, there = (numbers(profile, device) for device in ("cpu", "auto"))
    assert on_cpu.keys() == there.keys()
    assert len(on_cpu) >= FEWEST.get(name, 21)
    for metric, found in on_cpu.items():
        # A real GPU draws and rounds differently from a CPU.
        if NAME != "second" or TIMED.search(metric):
            assert np.isfinite(there[metric]).tolist() == np.isfinite(found).tolist(), metric
        else:
            np.testing.assert_allclose(
                there[metric], found, atol=TOLERANCE, rtol=TOLERANCE, err_msg=metric
            )


@pytest.mark.parametrize("name", COMPUTES)
def test_a_part_of_the_gpu_check_computes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = small_strec()
    monkeypatch.setattr("tests.strec.tiny.tiny", lambda: small)  # for the part strec
    assert parts.DEVICE == GPU
    with in_few_calls():
        values = [row.value for row in parts.PARTS[name].rows(True)]
    assert len(values) >= 2
    assert np.isfinite(values).all()
