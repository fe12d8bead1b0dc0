"""Progress bars and spinners of downloads; silent in CI and without a terminal."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.filesize import decimal
from tqdm import tqdm


def _visible() -> bool:
    # Imported late: okml.runtime imports torch, which a look-up of data does not need.
    from okml.runtime import show_progress

    return show_progress()


def byte_bar(total: int | None, done: int, desc: str) -> tqdm[Any]:
    """Return a bar that counts bytes from ``done`` up to ``total``."""
    return tqdm(
        total=total,
        initial=done,
        desc=desc,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not _visible(),
    )


def waiting(message: str) -> AbstractContextManager[Any]:
    """Show ``message`` and a spinner while another program works."""
    if not _visible():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(message)


def human_bytes(count: float | None) -> str:
    """Return a size in decimal units, as registries print them: ``98.4 MB``."""
    return "size unknown" if count is None else decimal(round(count))
