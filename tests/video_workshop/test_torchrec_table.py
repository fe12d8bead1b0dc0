"""Two processes that share a table of TorchRec, against one with a table of torch.

They need TorchRec, and an fbgemm that loads with the torch at hand; without them the tests are
skipped, unless ``OKML_REQUIRE_TORCHREC`` says that they must run.
"""

import os
import sys
from types import SimpleNamespace

import pytest
import torch

from okml.errors import ParameterError, ResourceError
from okml.video_workshop.items.torchrec_table import TorchRecTable
from tests.processes import run_two
from tests.video_workshop.sharded_torchrec import WEIGHTS, batches, one_process


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    if not os.environ.get("OKML_REQUIRE_TORCHREC"):
        try:
            import torchrec  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            pytest.skip(f"needs TorchRec and an fbgemm of this torch: {error}")
    return run_two("tests.video_workshop.sharded_torchrec", tmp_path_factory.mktemp("torchrec"))


@pytest.fixture(scope="module")
def whole(two):
    return one_process(torch.cat([part["first"] for part in two]))


def test_two_processes_draw_a_slice_each(two):
    first = [part["first"] for part in two]
    assert [len(rows) for rows in first] == [6, 5]
    assert (first[0][0] == 0).all()
    values = torch.cat(first)[1:]
    assert len(values.unique()) == values.numel()  # one seed, and yet no numbers in common
    assert 0.01 < values.std() < 0.03


def test_lookups_and_adagrad_are_those_of_one_process(two, whole):
    torch.testing.assert_close(torch.cat([part["lookup"] for part in two]), whole["lookup"])
    torch.testing.assert_close(torch.cat([part["sums"] for part in two]), whole["sums"])
    for part in two:
        torch.testing.assert_close(part["table"], whole["table"])
        assert (part["table"][0] == 0).all()
    moved = whole["table"] - torch.cat([part["first"] for part in two])
    assert moved[1:].abs().min() > 1e-4  # a table that stays where it was would not do


def test_a_process_may_look_up_nothing(two, whole):
    torch.testing.assert_close(two[0]["read alone"], whole["table"][batches()[1]])
    assert two[1]["read alone"].shape == (0, 3, 4)


def test_a_look_up_is_a_step(two):
    # A gradient of w, from a sum of zero, moves a row by the rate times w / rms(w): its size is
    # divided out. A second one of the same size is divided by the root of 2 in addition.
    step = 0.3 * WEIGHTS / WEIGHTS.square().mean().sqrt()
    for part in two:
        torch.testing.assert_close(part["one look-up"], step)
        torch.testing.assert_close(part["two look-ups"], step * (1 + 2**-0.5))


@pytest.mark.parametrize(
    "source", ["raise ImportError('gone')", "raise OSError('undefined symbol')"]
)
def test_what_does_not_load_is_said_with_what_to_install(monkeypatch, tmp_path, source):
    (tmp_path / "fbgemm_gpu.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "fbgemm_gpu"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ResourceError, match=r"(?s)(gone|undefined symbol).*okml\[torchrec\]"):
        TorchRecTable(10, 4, SimpleNamespace(ndim=1), rate=0.1)


def test_meshes_and_widths_that_do_not_fit_are_refused():
    with pytest.raises(ParameterError, match="1 dimension"):
        TorchRecTable(10, 4, SimpleNamespace(ndim=2), rate=0.1)
    with pytest.raises(ParameterError, match="multiple of 4"):
        TorchRecTable(10, 6, SimpleNamespace(ndim=1), rate=0.1)
