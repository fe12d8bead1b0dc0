"""Profiles: the typed settings of one chapter at one scale.

``smoke``, ``cpu`` and ``gpu`` are three instances of one frozen model, so they can differ in
numbers only, never in which code runs.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from okml.errors import ParameterError

ProfileName = Literal["smoke", "cpu", "gpu"]
PROFILE_NAMES: tuple[ProfileName, ...] = get_args(ProfileName)


class Budget(BaseModel):
    """What one run of a chapter may take; ``okml doctor`` compares it with the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: float = Field(gt=0)  # wall time
    memory_gib: float = Field(gt=0)  # resident memory of the process
    disk_gib: float = Field(gt=0)  # downloads and intermediate files
    gpu_memory_gib: float = Field(default=0, ge=0)  # memory of one GPU; 0: none is needed


class Profile(BaseModel):
    """Settings shared by all chapters; each chapter adds its own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    chapter: ClassVar[str]

    name: ProfileName
    budget: Budget
    seeds: tuple[int, ...] = Field(min_length=1)  # one result a seed; reported as mean ± sd
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def override(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with ``changes`` applied and everything validated again.

        Values may be strings, as a command line gives them: ``"3"`` becomes 3 where a field is
        an integer, and ``"[0, 1]"`` a tuple where it is one. A dotted name reaches into a
        nested model or a list of them: ``budget.minutes``, ``models.0.dtype``.

        Raises:
            ParameterError: If a name is no field, or a value does not fit it.
        """
        values = self.model_dump()
        for name, value in changes.items():
            _assign(values, name, value, type(self).__name__)
        try:
            return type(self).model_validate(values)
        except ValidationError as error:
            raise ParameterError(
                _explain(error), f"Profile {self.name!r} of {self.chapter}."
            ) from None

    def fingerprint(self) -> str:
        """Return the SHA-256 of the settings as canonical JSON: equal settings, equal hash."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _assign(values: Any, name: str, value: Any, owner: str) -> None:
    """Set ``name``, which may be dotted, in nested dictionaries and lists of settings."""
    head, _, rest = name.partition(".")
    key: Any = head
    if isinstance(values, list):
        if not head.isdigit() or int(head) >= len(values):
            raise ParameterError(f"{owner} has the numbers 0 to {len(values) - 1}, not {head!r}.")
        key = int(head)
    elif head not in values:
        close = difflib.get_close_matches(head, values, n=1)
        raise ParameterError(
            f"{owner} has no field {head!r}." + (f" Did you mean {close[0]!r}?" if close else ""),
            f"Fields: {', '.join(sorted(values))}.",
        )
    if not rest:
        values[key] = _parse(value)
        return
    if isinstance(values[key], tuple):
        values[key] = list(values[key])
    if not isinstance(values[key], dict | list):
        raise ParameterError(f"{owner}.{head} has no fields of its own.")
    _assign(values[key], rest, value, f"{owner}.{head}")


def _parse(value: Any) -> Any:
    """Read a string that is a JSON list or object, or null; leave every other value as it is."""
    if isinstance(value, str) and (value[:1] in "[{" or value == "null"):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ParameterError(f"{value!r} is not valid JSON: {error}.") from None
    return value


def _explain(error: ValidationError) -> str:
    """Say in one line which fields are wrong and why."""
    parts = [
        f"{'.'.join(str(step) for step in item['loc']) or 'settings'}: {item['msg']}"
        for item in error.errors()
    ]
    return "; ".join(parts) + "."
