"""What settings are made of: one base class, and the kinds of values that fields hold.

A field says by its type what it can be, so that a value without sense is refused before anything
starts::

    steps: Count = 400
    warmup_steps: Whole = 0  # zero has a meaning here
    dropout: BelowOne = 0.2
    seeds: AtLeastOne[Seed]

Every number is finite and has two bounds. The far one is no limit of a method: it is where a slip
of the pen begins.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from okml.paths import is_folder

LARGEST = 1e9  # of a setting that is measured
MOST = 2**31 - 1  # of a setting that is counted; fits 32 bits
LONGEST_NAME = 1000  # characters
LAST_SEED = 2**32 - 1  # NumPy takes no larger one

T = TypeVar("T")


class Settings(BaseModel):
    """Settings of one part of an experiment: complete, checked and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def _no_truth_value(value: Any) -> Any:
    """Refuse true and false, which Python counts among its numbers."""
    if isinstance(value, bool):
        raise PydanticCustomError("no_number", "Input should be a number, not true or false")
    return value


_Number = BeforeValidator(_no_truth_value)

# Whole numbers.
Count = Annotated[int, Field(ge=1, le=MOST), _Number]  # one at least
Whole = Annotated[int, Field(ge=0, le=MOST), _Number]  # none, or some
Width = Annotated[int, Field(ge=1, le=2**16), _Number]  # of a vector or a layer
Depth = Annotated[int, Field(ge=1, le=2**10), _Number]  # layers, or heads of one
Bytes = Annotated[int, Field(ge=1, le=2**50), _Number]
Seed = Annotated[int, Field(ge=0, le=LAST_SEED), _Number]

# Numbers that are measured.
_Finite = Annotated[float, Field(allow_inf_nan=False), _Number]
Real = Annotated[_Finite, Field(ge=-LARGEST, le=LARGEST)]
NonNegative = Annotated[_Finite, Field(ge=0, le=LARGEST)]
Positive = Annotated[_Finite, Field(gt=0, le=LARGEST)]
Exponent = Annotated[_Finite, Field(ge=-30, le=30)]  # of ten
Power = Annotated[_Finite, Field(ge=0, le=10)]  # that something is raised to
LearningRate = Annotated[_Finite, Field(gt=0, le=100)]

# Parts of a whole, by whether they may be none of it and all of it.
Probability = Annotated[_Finite, Field(ge=0, le=1)]
Share = Annotated[_Finite, Field(gt=0, le=1)]  # not none
BelowOne = Annotated[_Finite, Field(ge=0, lt=1)]  # a dropout, a decay
Fraction = Annotated[_Finite, Field(gt=0, lt=1)]  # neither


Text = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


def _folder(name: str) -> str:
    if not is_folder(name):
        raise PydanticCustomError("no_folder", "There is no such folder")
    return name


LocalFolder = Annotated[Text, AfterValidator(_folder)]


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    seen = set()
    for value in values:
        text = repr(value)  # settings with a dictionary inside have no hash
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
    """Return the check that settings in a list differ in one field, which names them."""

    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        _distinct(tuple(getattr(value, field) for value in values))
        return values

    return AfterValidator(check)


def rule(holds: Callable[[Any], bool], message: str) -> Any:
    """Return a validator of several fields at once, to be assigned in the body of a class.

    Args:
        holds: Tells of settings whether they make sense.
        message: What is wrong otherwise; ``{name}`` stands for the value of a field.
    """

    def check(settings: T) -> T:
        if not holds(settings):
            raise ValueError(message.format_map(vars(settings)))
        return settings

    return model_validator(mode="after")(check)


def heads_divide(heads: str = "heads", width: str = "width") -> Any:
    """Return the validator of a transformer's sizes: each head has the same part of the width."""
    return rule(
        lambda settings: getattr(settings, width) % getattr(settings, heads) == 0,
        f"{width} {{{width}}} is not a multiple of {{{heads}}} {heads}",
    )


def compared_once(first: str, second: str) -> Any:
    """Return the validator of two lists of what is compared, which share nothing."""
    return rule(
        lambda settings: not {*getattr(settings, first)} & {*getattr(settings, second)},
        f"{first} and {second} have something in common",
    )


def stops_early() -> Any:
    """Return the validator of early stopping, which counts evaluations."""
    return rule(
        lambda settings: settings.patience is None or settings.evaluate_every is not None,
        "patience {patience} needs evaluate_every",
    )


def one_of(
    what: str, names: Callable[[], Iterable[str]], also: Callable[[str], bool] = lambda name: False
) -> AfterValidator:
    """Return the check that a text names something that exists.

    Args:
        what: The kind of thing, for the message.
        names: Returns the names that exist.
        also: Tells whether another name is good as well.
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
    """Return a question that names the closest of what is known; empty if nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
