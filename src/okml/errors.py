"""Errors that a reader can act on.

Every failure that bad input can cause raises one of these. The command line prints ``message`` and
``hint`` without a traceback and exits with ``exit_code``, so scripts can distinguish the kinds.
"""

from __future__ import annotations

from typing import ClassVar


class OkmlError(Exception):
    """An error that the user can correct.

    Args:
        message: The problem, in one sentence.
        hint: The remedy; empty if the message already says it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ParameterError(OkmlError):
    """A chapter, profile or parameter that does not exist, or a value of the wrong kind."""

    exit_code = 2


class DataError(OkmlError):
    """A data set or model that is missing, corrupt, gated or not of the expected form."""

    exit_code = 3


class ResourceError(OkmlError):
    """Too little memory, disk or hardware for what was asked."""

    exit_code = 4


class TrainingError(OkmlError):
    """A training run that diverged or whose checkpoint does not fit."""

    exit_code = 5


class RecordError(OkmlError):
    """A run record or a list of claims that is damaged, edited by hand or of another schema."""

    exit_code = 6


class BusyError(OkmlError):
    """A folder that another process uses."""

    exit_code = 7
