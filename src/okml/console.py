"""Options that all commands share, and errors as messages on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from okml.errors import OkmlError, ParameterError
from okml.profile import ProfileName
from okml.settings import DeviceName

err = Console(stderr=True, highlight=False)

STOPPED = "Stopped. Start the same command again to go on where it was."

ProfileOption = Annotated[ProfileName, typer.Option("--profile", help="The scale to run at.")]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME=VALUE", help="Override a field of the profile."),
]
RunDirOption = Annotated[
    Path | None, typer.Option("--run-dir", help="Where finished steps are kept.")
]
AdoptOption = Annotated[
    bool, typer.Option("--adopt", help="Use steps and trainings that other code has kept.")
]
DeviceOption = Annotated[
    DeviceName | None,
    typer.Option("--device", help="Where to compute; auto: the accelerator if there is one."),
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for who runs in the same folder, instead of ending.")
]
EngineOption = Annotated[
    Literal["processes", "ray"] | None,
    typer.Option("--engine", help="Who trains: processes of this machine, or a Ray cluster."),
]
PerCardOption = Annotated[
    int | None, typer.Option("--per-card", min=1, help="Trainings at a time on a card; else one.")
]


@contextmanager
def report_errors() -> Iterator[None]:
    """Turn an okml error into one message on standard error and its exit code."""
    try:
        _require_text(sys.argv)
        yield
    except OkmlError as error:
        message = f"[bold red]error:[/] {escape(error.message)}"
        err.print(message, soft_wrap=True)  # no line breaks inside paths
        if error.hint:
            err.print(escape(error.hint), soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say(STOPPED)
        sys.exit(130)
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code > 128:
            say(STOPPED)
        raise


def say(text: str) -> None:
    """Print a line on standard error."""
    with suppress(OSError):  # the terminal may have been closed
        err.print(escape(text), soft_wrap=True)


def _require_text(arguments: Iterable[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:  # bytes that the system's encoding has no character for
            raise ParameterError(f"{argument!r} is no text.") from None


def pairs(
    parameters: Iterable[str] | None, device: str | None = None, seed: int | None = None
) -> dict[str, str]:
    """Split the ``name=value`` strings of an option, and add fields with options of their own.

    Raises:
        ParameterError: If one has no ``=`` or no name, comes twice, or is the profile's, which is
            an option.
    """
    own = {"device": device, "seeds": None if seed is None else f"[{seed}]"}
    given = [f"{name}={value}" for name, value in own.items() if value is not None]
    pairs: dict[str, str] = {}
    for text in (*(parameters or ()), *given):
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ParameterError(f"-p takes name=value; got {text!r}.")
        if name == "profile":
            raise ParameterError("The profile is no parameter.", f"Write --profile {value}.")
        if name in pairs:
            raise ParameterError(f"{name} is given twice: {pairs[name]!r} and {value!r}.")
        pairs[name] = value
    return pairs
