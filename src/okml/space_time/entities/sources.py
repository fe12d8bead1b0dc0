"""Where the files of entity sets come from: the data catalog."""

from __future__ import annotations

from pathlib import Path

from okml.data import fetch

RELEASE = "released entity sets of Gurnee & Tegmark (2023)"


def released(name: str) -> Path:
    """Return the released CSV of one of the paper's sets.

    Raises:
        DataError: If it cannot be had.
    """
    return packaged("world_models", f"{name}.csv")


def packaged(data_set: str, file: str) -> Path:
    """Return one file of a data set in the catalog.

    Raises:
        DataError: If it cannot be had.
    """
    return fetch(data_set, [file])[file]
