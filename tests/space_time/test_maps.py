from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from okml.space_time.figures import maps

# Steps of 1/10 degree from (-180, -90). The second arc jumps over the date line, the third has
# nothing but a jump.
TOPOLOGY = {
    "type": "Topology",
    "transform": {"scale": [0.1, 0.1], "translate": [-180.0, -90.0]},
    "arcs": [
        [[1800, 900], [10, 0], [0, -20]],
        [[3590, 1000], [5, 0], [-3590, 1], [10, 0]],
        [[0, 0], [3600, 0]],
    ],
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[np.ndarray, ...]]:
    path = tmp_path / "world.json"
    path.write_text(json.dumps(TOPOLOGY), encoding="utf-8")
    files = {"world.json": path, "LICENSE": tmp_path / "LICENSE"}
    monkeypatch.setattr(maps, "fetch", lambda name: files)
    maps.world_outline.cache_clear()
    yield maps.world_outline()
    maps.world_outline.cache_clear()


def test_arcs_are_steps_from_their_first_point() -> None:
    first, second, third = maps.decode_arcs(TOPOLOGY)
    np.testing.assert_allclose(first, [[0, 0], [1, 0], [1, -2]])
    np.testing.assert_allclose(second, [[179, 10], [179.5, 10], [-179.5, 10.1], [-178.5, 10.1]])
    np.testing.assert_allclose(third, [[-180, -90], [180, -90]])


def test_lines_are_cut_at_the_date_line(world: tuple[np.ndarray, ...]) -> None:
    assert [len(line) for line in world] == [3, 2, 2]
    np.testing.assert_allclose(world[1], [[179, 10], [179.5, 10]])
    np.testing.assert_allclose(world[2], [[-179.5, 10.1], [-178.5, 10.1]])


@pytest.mark.realdata
def test_the_world_lies_on_the_globe() -> None:
    maps.world_outline.cache_clear()
    lines = maps.world_outline()
    points = np.concatenate(lines)
    assert len(lines) > 100
    assert np.abs(points[:, 0]).max() <= 180
    assert points[:, 1].min() < -70
    assert points[:, 1].max() > 80
    assert max(np.abs(np.diff(line[:, 0])).max() for line in lines) <= 180
