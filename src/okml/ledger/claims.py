"""Claims: the sentences of a digest that a run can decide."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from importlib import resources
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from okml.errors import RecordError
from okml.profile import ProfileName

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
BAR = re.compile(r"^(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?(?:e-?\d+)?)$")
METRIC_NAME = r"^[a-z][a-z0-9_]*$"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(_Model):
    """One text in both languages of the book."""

    en: str = Field(min_length=1)
    ru: str = Field(min_length=1)


class PaperValue(_Model):
    """What the paper, or the digest, reports."""

    value: float
    unit: str
    unit_ru: str | None = None  # where the unit is words
    note: Text | None = None  # model, data set and conditions


class Control(_Model):
    """A number that would make the result meaningless if it were just as good."""

    metric: str = Field(pattern=METRIC_NAME)
    better: Literal["higher", "lower"] = "higher"  # the direction in which the result must lie
    margin: float = Field(default=0.0, ge=0)  # by at least this much, in the metric's unit
    text: Text  # what the control is

    def beaten_by(self, result: float, control: float) -> bool:
        """Tell whether ``result`` is better than ``control`` by more than the margin."""
        gain = result - control if self.better == "higher" else control - result
        return gain > self.margin


class Claim(_Model):
    """One testable sentence, the number that tests it and the bar it has to clear."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
    text: Text
    source: str  # table, figure or section of the paper; "digest"; "okml" for our own checks
    paper: PaperValue | None = None  # None: the paper states no figure, or none is known to us
    metric: str | None = Field(default=None, pattern=METRIC_NAME)
    expect: dict[ProfileName, str] = {}  # e.g. {"gpu": ">= 0.85"}; a missing profile: not run there
    control: Control | None = None
    needs: Text | None = None  # what the full-scale run takes
    untestable: Text | None = None
    cause: dict[ProfileName, Text] = {}  # why it did not reproduce, once an experiment showed it

    @field_validator("expect")
    @classmethod
    def _bars_are_comparisons(cls, expect: dict[ProfileName, str]) -> dict[ProfileName, str]:
        for bar in expect.values():
            if not BAR.match(bar):
                raise ValueError(f"{bar!r} is not a comparison such as '>= 0.85'")
        return expect

    @model_validator(mode="after")
    def _testable_or_not(self) -> Self:
        if self.untestable is None and self.metric is None:
            raise ValueError("a claim names a metric, or says why it is untestable")
        if self.untestable is not None and (self.metric or self.expect or self.control):
            raise ValueError("an untestable claim has no metric, bar or control")
        if self.metric is not None and not self.expect:
            raise ValueError("a claim with a metric has a bar for at least one profile")
        return self

    @property
    def chapter(self) -> str:
        """The chapter whose run decides the claim."""
        return self.id.split(".", 1)[0]

    def meets_bar(self, profile: ProfileName, value: float) -> bool:
        """Tell whether ``value`` clears the bar of ``profile``; NaN never does."""
        match = BAR.match(self.expect[profile])
        assert match is not None  # the validator has seen it
        return OPERATORS[match[1]](value, float(match[2]))


def parse_claims(text: str, chapter: str) -> list[Claim]:
    """Read claims from YAML and check that ids are unique and belong to ``chapter``.

    Raises:
        RecordError: If the YAML or a claim is malformed.
    """
    where = f"src/okml/{chapter}/claims.yml"
    try:
        claims = [Claim.model_validate(entry) for entry in yaml.safe_load(text) or []]
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise RecordError(f"{where} is malformed.", str(error)) from None
    ids = [claim.id for claim in claims]
    if repeated := sorted({name for name in ids if ids.count(name) > 1}):
        raise RecordError(f"{where} repeats the ids {', '.join(repeated)}.")
    if foreign := [claim.id for claim in claims if claim.chapter != chapter]:
        raise RecordError(f"{where} holds claims of other chapters: {', '.join(foreign)}.")
    return claims


def load_claims(chapter: str) -> list[Claim]:
    """Return the claims of ``chapter`` in the order of its digest."""
    source = resources.files(f"okml.{chapter}") / "claims.yml"
    return parse_claims(source.read_text(encoding="utf-8"), chapter)
