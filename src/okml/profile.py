"""Profiles: the typed settings of one chapter at one scale.

``smoke``, ``cpu``, ``night`` and ``gpu`` are instances of one frozen model, so they can differ in
numbers only, never in which code runs.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from okml.errors import ParameterError

ProfileName = Literal["smoke", "cpu", "night", "gpu"]  # from the smallest scale to the paper's
PROFILE_NAMES: tuple[ProfileName, ...] = get_args(ProfileName)
MOST_SUGGESTED = 3
# Kinds of pydantic's errors about a value that is no list or no object.
WRITTEN_AS_JSON = {"tuple_type", "list_type", "dict_type", "model_type", "model_attributes_type"}


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
                _explain(error, self.model_dump(mode="json")),
                f"Profile {self.name!r} of {self.chapter}.",
            ) from None

    def fingerprint(self) -> str:
        """Return the SHA-256 of the settings as canonical JSON: equal settings, equal hash."""
        return settings_hash(self.model_dump(mode="json"))


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of settings, as a record keeps them, as canonical JSON."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
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
        raise ParameterError(
            f"{owner} has no field {head!r}.{_did_you_mean(head, values)}",
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


def _did_you_mean(name: str, values: Mapping[str, Any]) -> str:
    """Return a question that names close fields, or fields of that name further inside."""
    if close := difflib.get_close_matches(name, values, n=1):
        return f" Did you mean {close[0]!r}?"
    inside: dict[str, list[str]] = {}
    for dotted in _dotted(values):
        inside.setdefault(dotted.rsplit(".", 1)[-1], []).append(dotted)
    close = difflib.get_close_matches(name, inside, n=2)
    found = [repr(dotted) for last in close for dotted in inside[last]][:MOST_SUGGESTED]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _dotted(values: Any) -> Iterator[str]:
    """Yield the names of all fields inside; of a list's elements, those of the first."""
    listed = isinstance(values, list | tuple)
    for name, value in enumerate(values[:1]) if listed else values.items():
        yield str(name)
        if isinstance(value, dict | list | tuple):
            yield from (f"{name}.{rest}" for rest in _dotted(value))


def _explain(error: ValidationError, present: Mapping[str, Any]) -> str:
    """Say in one line which fields are wrong and why, and how those that are JSON are written."""
    parts = []
    for item in error.errors():
        name = ".".join(str(step) for step in item["loc"]) or "settings"
        example = _example(item["loc"], present) if item["type"] in WRITTEN_AS_JSON else ""
        parts.append(f"{name}: {item['msg']}{example}")
    return "; ".join(parts) + "."


def _example(place: Sequence[int | str], present: Any) -> str:
    """Return how to write a list or an object, after the value that is there now."""
    for step in place:
        inside = isinstance(present, dict) and step in present
        if not inside and not (isinstance(present, list) and step in range(len(present))):
            return "; write it as JSON"
        present = present[step]
    if isinstance(present, list) and present and isinstance(present[0], dict):
        present = present[:1]
    name = ".".join(map(str, place))
    return f"; write it as JSON: -p '{name}={json.dumps(present, ensure_ascii=False)}'"
