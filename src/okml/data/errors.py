"""The error of a data source; the caller turns it into a ``DataError``."""

from __future__ import annotations


class SourceError(Exception):
    """One source could not serve one file.

    Args:
        reason: The reason, as shown after the name of the source.
        unreachable: Whether the source will not serve the other files of this call either, so
            that thirty files behind one dead host cost one timeout.
    """

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unreachable = unreachable
