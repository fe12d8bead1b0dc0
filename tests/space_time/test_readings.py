from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from okml.errors import DataError, ParameterError, ResourceError
from okml.space_time.readings import Reading, drafted, open_reading, rounded

FRAMES = {
    "curves": pl.DataFrame({"layer": [-1, 0, 1], "r2": [0.1, 0.2, 0.3]}),
    "predictions": pl.DataFrame({"row": [0], "predicted_0": [1.5]}),
}
STATES = {layer: torch.full((2, 3), layer + 2.0, dtype=torch.float16) for layer in (-1, 1)}


def write(folder: Path) -> Reading:
    with drafted(folder, "float16") as draft:
        for layer, states in STATES.items():
            draft.keep(layer, states)
        draft.finish(FRAMES, (2, 2, 3), chosen=1)
    found = open_reading(folder)
    assert found is not None
    return found


def test_a_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    found = write(tmp_path / "pass")
    assert (found.listing.layers, found.listing.chosen, found.listing.blocks) == ((-1, 1), 1, 2)
    for layer, states in STATES.items():
        assert found.layer(layer).dtype == np.float32
        np.testing.assert_array_equal(found.layer(layer), states)
    assert {name: frame.equals(FRAMES[name]) for name, frame in found.frames.items()} == {
        "curves": True, "predictions": True
    }  # fmt: skip


def test_a_layer_that_was_not_kept_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"Layer 0 of pass is not kept; kept: -1, 1"):
        write(tmp_path / "pass").layer(0)


def test_a_reading_is_there_once_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "pass"
    assert open_reading(folder) is None
    try:
        with drafted(folder, "float16") as draft:
            draft.keep(0, STATES[1])
            draft.finish(FRAMES, (2, 2, 3), chosen=0)
            assert open_reading(folder) is None
            raise InterruptedError
    except InterruptedError:
        pass
    assert list(tmp_path.iterdir()) == []
    write(folder)
    assert list(tmp_path.iterdir()) == [folder]


def use_all(folder: Path) -> None:
    found = open_reading(folder)
    assert found is not None
    assert found.frames.keys() == FRAMES.keys()
    found.layer(-1)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("reading.json", b"{"),
        ("reading.json", b'{"blocks": 2}'),
        ("curves.parquet", b"cut"),
        ("predictions.parquet", None),
        ("state_00.npy", None),
        ("state_00.npy", b"\x93NUMPY"),
    ],
)
def test_a_damaged_reading_is_refused(tmp_path: Path, file: str, content: bytes | None) -> None:
    place = write(tmp_path / "pass").folder / file
    place.unlink() if content is None else place.write_bytes(content)
    with pytest.raises(DataError, match="cannot be used") as caught:
        use_all(tmp_path / "pass")
    assert "Delete that folder" in caught.value.hint


def test_states_of_another_shape_are_refused(tmp_path: Path) -> None:
    found = write(tmp_path / "pass")
    np.save(found.folder / "state_00.npy", np.zeros((2, 4), np.float16))
    with pytest.raises(DataError, match=r"state_00.npy is float16 \(2, 4\)"):
        found.layer(-1)


def test_rounding_is_that_of_the_type_and_nothing_else() -> None:
    states = torch.randn(5, 4)
    assert torch.equal(rounded(states, "float16"), states.half())
    assert torch.equal(rounded(states, "float32"), states)
    bfloat16 = states.bfloat16().float()  # float16 has all of its bits
    assert torch.equal(rounded(bfloat16, "float16").float(), bfloat16)
    with pytest.raises(ParameterError, match=r"An activation of 7e\+04 does not fit float16"):
        rounded(torch.tensor([[7e4]]), "float16")


def test_too_small_a_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 5

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with (
        pytest.raises(ResourceError, match=r"takes 0\.0 GiB"),
        drafted(tmp_path / "pass", "float16") as draft,
    ):
        draft.keep(0, STATES[1])
    assert list(tmp_path.iterdir()) == []
