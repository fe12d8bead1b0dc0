"""Claims: the sentences of a digest that a run can decide."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import Any, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from okml.errors import RecordError
from okml.profile import ProfileName
from okml.settings import Frozen
from okml.yaml_text import parse_yaml

NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
ONE_SIDED = re.compile(rf"^(<=|>=|<|>)\s*({NUMBER})$")
ABSOLUTE = re.compile(rf"^\|x\|\s*(<=|<)\s*({NUMBER})$")
RANGE = re.compile(rf"^in \[({NUMBER}), ({NUMBER})\]$")
METRIC_NAME = r"^[a-z][a-z0-9_]*$"

Scale = ProfileName | Literal["any"]  # "any": every profile that is not named beside it
Basis = Literal["real", "synthetic", "simulator", "arithmetic"]
Changed = Literal["bar", "metric", "control", "condition"]


class Text(Frozen):
    """One text in both languages of the book."""

    en: str = Field(min_length=1)
    ru: str = Field(min_length=1)


class PaperValue(Frozen):
    """A number that the paper, or the digest, reports."""

    value: float
    unit: str
    unit_ru: str | None = None  # the unit in Russian, if it is a word
    note: Text | None = None  # model, data set and conditions


class Bar(Frozen):
    """The values that a claim allows: ``>= 0.85``, ``|x| <= 0.05`` or ``in [-0.02, 0.02]``."""

    low: float = -math.inf
    high: float = math.inf
    strict: bool = False  # whether the ends themselves are excluded

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a bar as ``claims.yml`` writes it.

        Raises:
            ValueError: If the text is none of the three forms.
        """
        if found := ONE_SIDED.match(text):
            side = "low" if ">" in found[1] else "high"
            return cls(**{side: float(found[2])}, strict="=" not in found[1])
        if found := ABSOLUTE.match(text):
            return cls(low=-float(found[2]), high=float(found[2]), strict="=" not in found[1])
        if found := RANGE.match(text):
            return cls(low=float(found[1]), high=float(found[2]))
        raise ValueError(f"{text!r} is no bar such as '>= 0.85', '|x| <= 0.05' or 'in [-1, 1]'")

    def allows(self, value: float) -> bool:
        """Tell whether a value clears the bar; NaN never does."""
        if self.strict:
            return self.low < value < self.high
        return self.low <= value <= self.high

    def allows_all(self, interval: tuple[float, float]) -> bool:
        """Tell whether the whole interval clears the bar."""
        return all(map(self.allows, interval))

    def allows_none(self, interval: tuple[float, float]) -> bool:
        """Tell whether the whole interval misses the bar, on one side of it."""
        low, high = interval
        if self.strict:
            return high <= self.low or low >= self.high
        return high < self.low or low > self.high


class Control(Frozen):
    """A control metric: the result is meaningless if the control is just as good."""

    metric: str = Field(pattern=METRIC_NAME)
    better: Literal["higher", "lower"] = "higher"  # the direction in which the result must lie
    margin: float = Field(default=0.0, ge=0)  # least difference, in the metric's unit
    text: Text  # description of the control

    @property
    def bar(self) -> str:
        """The bar of the paired difference, result less control."""
        return f"> {self.margin:g}" if self.better == "higher" else f"< {-self.margin or 0:g}"

    def __str__(self) -> str:
        return f"{self.better} than {self.metric} by {self.margin:g}"


class Condition(Frozen):
    """A condition of every verdict on a claim, such as that the judged model was trained.

    It holds where the whole interval of its metric clears the bar. Otherwise the claim is
    undecided.
    """

    metric: str = Field(pattern=METRIC_NAME)
    bar: str
    text: Text  # the reason why nothing is decided where the condition does not hold
    profiles: tuple[ProfileName, ...] = ()  # those at which it must hold; empty: all

    @field_validator("bar")
    @classmethod
    def _can_be_read(cls, bar: str) -> str:
        Bar.parse(bar)
        return bar

    def __str__(self) -> str:
        return f"{self.metric} {self.bar}"


class Revision(Frozen):
    """One dated change of a claim after it was set."""

    date: datetime.date
    what: Changed = "bar"
    profile: Scale = "any"  # the scale whose bar changed
    before: str | None = Field(alias="from")  # the earlier value; null if there was none
    why: Text


class Stood(Frozen):
    """The metric, bar, control and conditions of a claim at a run, as its record keeps them."""

    metric: str
    bar: str | None
    control: str | None
    condition: str | None = None


class Claim(Frozen):
    """One testable sentence, the number that tests it and the bar it has to clear."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
    text: Text
    source: str  # table, figure or section of the paper; "digest"; "okml" for our own checks
    paper: PaperValue | None = None  # None: the paper states no figure, or none is known to us
    metric: str | None = Field(default=None, pattern=METRIC_NAME)
    measures: Text | None = None  # what the metric is, for those who do not know its name
    expect: dict[Scale, str] = Field(default_factory=dict)  # e.g. {any: "> 0", gpu: ">= 0.85"}
    set: datetime.date | None = None  # date on which the bars were set
    revised: tuple[Revision, ...] = ()  # changes since then
    # A kind of evidence such as simulator, or {any: synthetic, gpu: real}.
    rests_on: dict[Scale, Basis] = Field(default_factory=dict)
    rests_note: Text | None = None  # such as "an instruction-tuned model with 4-bit weights"
    control: Control | None = None
    no_control: Text | None = None  # the reason why no trivial explanation is possible
    conditions: tuple[Condition, ...] = ()  # conditions of a verdict
    needs: Text | None = None  # requirements of the full-scale run
    untestable: Text | None = None
    # Cause of a failed reproduction, shown by an experiment.
    cause: dict[ProfileName, Text] = Field(default_factory=dict)

    @field_validator("rests_on", mode="before")
    @classmethod
    def _one_basis_for_all(cls, rests_on: Any) -> Any:
        return {"any": rests_on} if isinstance(rests_on, str) else rests_on

    @field_validator("expect")
    @classmethod
    def _bars_can_be_read(cls, expect: dict[Scale, str]) -> dict[Scale, str]:
        for bar in expect.values():
            Bar.parse(bar)
        return expect

    @model_validator(mode="after")
    def _testable_or_not(self) -> Self:
        if self.untestable is None and self.metric is None:
            raise ValueError("a claim names a metric, or says why it is untestable")
        if self.untestable is not None and (self.metric or self.expect or self.control):
            raise ValueError("an untestable claim has no metric, bar or control")
        if self.metric is not None and not self.expect:
            raise ValueError("a claim with a metric has a bar for at least one profile")
        if self.control is not None and self.no_control is not None:
            raise ValueError("a claim has a control, or says why it has none")
        return self

    @property
    def chapter(self) -> str:
        """The chapter whose run decides the claim."""
        return self.id.split(".", 1)[0]

    def bar(self, profile: ProfileName) -> str | None:
        """Return the bar of a profile as written; None if no bar was set for it."""
        return self.expect.get(profile, self.expect.get("any"))

    def basis(self, profile: ProfileName) -> Basis | None:
        """Return the kind of evidence at a profile; None if the claim does not state it."""
        return self.rests_on.get(profile, self.rests_on.get("any"))

    def changes(self) -> Iterator[tuple[Revision, str | None]]:
        """Yield the changes since the claim was set, in order, with the value after each.

        Yields:
            The change, and the value that it set, as text; None if it removed the value. The value
            of a bar at ``any`` may be the bars of several scales, separated by commas.
        """
        for number, revision in enumerate(self.revised):
            later = (
                other.before
                for other in self.revised[number + 1 :]
                if (other.what, other.profile) == (revision.what, revision.profile)
            )
            if revision.what == "metric":
                now = self.metric
            elif revision.what == "control":
                now = str(self.control) if self.control else None
            elif revision.what == "condition":
                now = _written(self.conditions)
            elif revision.profile == "any":
                now = ", ".join(dict.fromkeys(self.expect.values()))
            else:
                now = self.bar(revision.profile)
            yield revision, next(later, now)

    def as_it_stands(self, profile: ProfileName) -> Stood:
        """Return the parts of the claim that the record of a run at ``profile`` keeps.

        Raises:
            ValueError: If the claim is untestable.
        """
        if self.metric is None:
            raise ValueError(f"{self.id} is untestable")
        return Stood(
            metric=self.metric,
            bar=self.bar(profile),
            control=str(self.control) if self.control else None,
            condition=_written(self.conditions_at(profile)),
        )

    def conditions_at(self, profile: ProfileName) -> tuple[Condition, ...]:
        """Return the conditions of a verdict at a profile."""
        return tuple(
            each for each in self.conditions if not each.profiles or profile in each.profiles
        )


def _written(conditions: Iterable[Condition]) -> str | None:
    return " and ".join(map(str, conditions)) or None


def parse_claims(text: str, chapter: str) -> list[Claim]:
    """Read claims from YAML and check that ids are unique and belong to ``chapter``.

    Raises:
        RecordError: If the YAML or a claim is malformed.
    """
    where = f"src/okml/{chapter}/claims.yml"
    try:
        claims = [Claim.model_validate(entry) for entry in parse_yaml(text) or []]
    except (ValueError, yaml.YAMLError, TypeError, RecursionError) as error:
        raise RecordError(f"{where} is malformed.", str(error)) from None
    ids = [claim.id for claim in claims]
    if repeated := sorted({name for name in ids if ids.count(name) > 1}):
        raise RecordError(f"{where} repeats the ids {', '.join(repeated)}.")
    if foreign := [claim.id for claim in claims if claim.chapter != chapter]:
        raise RecordError(f"{where} holds claims of other chapters: {', '.join(foreign)}.")
    return claims


def load_claims(chapter: str) -> list[Claim]:
    """Return the claims of ``chapter`` in the order of its digest.

    Raises:
        RecordError: If the file is not there, or malformed.
    """
    source = resources.files(f"okml.{chapter}") / "claims.yml"
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{source} cannot be read: {error}.") from None
    return parse_claims(text, chapter)
