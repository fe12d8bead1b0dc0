"""The base class of settings, and the types of their fields.

The type of a field states its range, so that an invalid value is refused before a run starts::

    steps: Count = 400
    warmup_steps: Whole = 0  # zero has a meaning here
    dropout: BelowOne = 0.2
    seeds: AtLeastOne[Seed]

Every number is finite and has two bounds. The far one is not a limit of a method, but catches
typing errors.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from okml.paths import is_folder

LARGEST = 1e9  # largest real-valued setting
MOST = 2**31 - 1  # largest integer setting; fits 32 bits
LONGEST_NAME = 1000  # characters
LAST_SEED = 2**32 - 1  # NumPy's largest seed

T = TypeVar("T")

DeviceName = Literal["auto", "cpu", "cuda", "xpu", "mps"]  # auto: the accelerator if there is one


class Frozen(BaseModel):
    """Values that are validated, named and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(Frozen):
    """Settings of one part of an experiment."""

    model_config = ConfigDict(validate_default=True)


def _no_truth_value(value: Any) -> Any:
    """Refuse booleans, which are integers in Python."""
    if isinstance(value, bool):
        raise PydanticCustomError("no_number", "Input should be a number, not true or false")
    return value


_Number = BeforeValidator(_no_truth_value)

# Whole numbers.
Count = Annotated[int, Field(ge=1, le=MOST), _Number]
Whole = Annotated[int, Field(ge=0, le=MOST), _Number]
Width = Annotated[int, Field(ge=1, le=2**16), _Number]  # dimension of a vector or a layer
Depth = Annotated[int, Field(ge=1, le=2**10), _Number]  # number of layers, or of heads
Bytes = Annotated[int, Field(ge=1, le=2**50), _Number]
Seed = Annotated[int, Field(ge=0, le=LAST_SEED), _Number]

# Real numbers.
_Finite = Annotated[float, Field(allow_inf_nan=False), _Number]
Real = Annotated[_Finite, Field(ge=-LARGEST, le=LARGEST)]
NonNegative = Annotated[_Finite, Field(ge=0, le=LARGEST)]
Positive = Annotated[_Finite, Field(gt=0, le=LARGEST)]
Exponent = Annotated[_Finite, Field(ge=-30, le=30)]  # exponent of ten
Power = Annotated[_Finite, Field(ge=0, le=10)]  # exponent of another base
LearningRate = Annotated[_Finite, Field(gt=0, le=100)]

# Parts of a whole, by whether 0 and 1 are included.
Probability = Annotated[_Finite, Field(ge=0, le=1)]
Share = Annotated[_Finite, Field(gt=0, le=1)]
BelowOne = Annotated[_Finite, Field(ge=0, lt=1)]  # such as a dropout or a decay
Fraction = Annotated[_Finite, Field(gt=0, lt=1)]


Text = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


def _folder(name: str) -> str:
    if not is_folder(name):
        raise PydanticCustomError("no_folder", "There is no such folder")
    return name


LocalFolder = Annotated[Text, AfterValidator(_folder)]


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    seen = set()
    for value in values:
        text = repr(value)  # settings that contain a dictionary are not hashable
        if text in seen:
            raise PydanticCustomError("repeated", "{value} is listed twice", {"value": text})
        seen.add(text)
    return values


def _ascending(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if any(after <= before for before, after in itertools.pairwise(values)):
        raise PydanticCustomError("no_order", "Values should ascend, none of them twice")
    return values


Distinct = Annotated[tuple[T, ...], AfterValidator(_distinct)]
AtLeastOne = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_distinct)]
Ascending = Annotated[tuple[T, ...], AfterValidator(_ascending)]


def different(field: str) -> AfterValidator:
    """Return the validator that the settings in a list differ in one field, such as the name."""

    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        _distinct(tuple(getattr(value, field) for value in values))
        return values

    return AfterValidator(check)


def rule(holds: Callable[[Any], bool], message: str) -> Any:
    """Return a validator of several fields at once, to be assigned in the body of a class.

    Args:
        holds: A predicate that is true for valid settings.
        message: The error message, in which ``{name}`` stands for the value of a field.
    """

    def check(settings: T) -> T:
        if not holds(settings):
            raise ValueError(message.format_map(vars(settings)))
        return settings

    return model_validator(mode="after")(check)


def heads_divide(heads: str = "heads", width: str = "width") -> Any:
    """Return the validator that a transformer's width is a multiple of its number of heads."""
    return rule(
        lambda settings: getattr(settings, width) % getattr(settings, heads) == 0,
        f"{width} {{{width}}} is not a multiple of {{{heads}}} {heads}",
    )


def compared_once(first: str, second: str) -> Any:
    """Return the validator that two lists have no element in common."""
    return rule(
        lambda settings: not {*getattr(settings, first)} & {*getattr(settings, second)},
        f"{first} and {second} have something in common",
    )


def stops_early() -> Any:
    """Return the validator that early stopping has an interval of evaluations."""
    return rule(
        lambda settings: settings.patience is None or settings.evaluate_every is not None,
        "patience {patience} needs evaluate_every",
    )


def one_of(
    what: str, names: Callable[[], Iterable[str]], also: Callable[[str], bool] = lambda name: False
) -> AfterValidator:
    """Return the validator that a text is a known name.

    Args:
        what: The kind of the named object, for the message.
        names: A function that returns the known names.
        also: A predicate for other valid names.
    """

    def check(value: str) -> str:
        known = tuple(names())
        if value in known or also(value):
            return value
        raise PydanticCustomError(
            "unknown_name",
            "There is no {what} '{value}'.{close} Known: {known}",
            {
                "what": what,
                "value": value,
                "close": did_you_mean(value, known),
                "known": ", ".join(known),
            },
        )

    return AfterValidator(check)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that suggests the closest known name; empty if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
