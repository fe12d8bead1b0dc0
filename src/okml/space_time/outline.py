"""Coastlines for the maps, decoded from a TopoJSON file of the data catalog."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from okml.data import fetch

Line = NDArray[np.float64]


def decode_arcs(topology: dict[str, Any]) -> list[Line]:
    """Return the arcs of a topology as lines of (longitude, latitude) in degrees, [points, 2].

    TopoJSON stores an arc as integer steps from its first point; the topology's transform turns
    them into degrees (TopoJSON specification, 2.1.2 and 2.1.4).
    """
    scale = np.array(topology["transform"]["scale"])
    origin = np.array(topology["transform"]["translate"])
    return [np.cumsum(np.array(arc), axis=0) * scale + origin for arc in topology["arcs"]]


@cache
def world_outline() -> tuple[Line, ...]:
    """Return the outlines of the world's countries, cut where one jumps across the date line."""
    (path,) = (p for p in fetch("world_outline").values() if Path(p).suffix == ".json")
    lines = decode_arcs(json.loads(path.read_text(encoding="utf-8")))
    whole = []
    for line in lines:
        jumps = np.flatnonzero(np.abs(np.diff(line[:, 0])) > 180) + 1
        whole += [part for part in np.split(line, jumps) if len(part) > 1]
    return tuple(whole)
