"""The smallest runs of chapters on the CPU and on another device, as a program.

``OKML_TEST_DEVICE=second python -m tests.second_device.chapters FOLDER NAME…`` writes the numbers
of all steps of a chapter on both, or why there are none. A name such as ``"part sdxl"`` is that of
a part of ``make gpu-check``, which has numbers of the other device alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path
from unittest import mock

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu import parts
from okml.profile import Profile
from okml.seqrec.dropout import Dropout
from okml.training import ahead
from tests.device import GPU, NAME
from tests.second_device.smallest import SMALLEST


def same_dropout(self: Dropout, x: Tensor) -> Tensor:
    """Draw as torch does: okml's own way, which a CPU needs, draws other numbers."""
    return nn.functional.dropout(x, self.p, self.training)


def numbers(profile: Profile, device: str) -> dict[str, list[float]]:
    """Return the measurements of all steps of a run on a device."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(ahead, "usable_cores", return_value=1),
        mock.patch.object(Dropout, "forward", same_dropout),
        sdpa_kernel(SDPBackend.MATH),  # the CPU has a kernel of its own, which rounds differently
    ):
        experiment = import_module(f"okml.{profile.chapter}.experiment").Experiment
        made = experiment(profile.override({"device": device}), Path(folder)).record()
    assert made.provenance.device == ("cpu" if device == "cpu" else GPU.type)
    return {name: [float(x) for x in metric.numbers] for name, metric in made.metrics.items()}


def chapter(name: str) -> dict[str, dict[str, list[float]]]:
    """Return the measurements of a chapter's smallest run, by device."""
    with tempfile.TemporaryDirectory() as data, SMALLEST[name](Path(data)) as profile:
        return {device: numbers(profile, device) for device in ("cpu", "auto")}


def part(name: str) -> dict[str, list[float]]:
    """Return the values of a part of ``make gpu-check`` at its smallest sizes, by device."""
    return {parts.DEVICE.type: [row.value for row in parts.PARTS[name].rows(True)]}


def main(folder: Path, *names: str) -> None:
    if NAME == "second":
        import_module("tests.second_device.device").random.shared = True
    for name in names:
        try:
            found = part(name.removeprefix("part ")) if name.startswith("part ") else chapter(name)
            (folder / f"{name}.json").write_text(json.dumps(found))
        except Exception:
            (folder / f"{name}.txt").write_text(traceback.format_exc())


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
