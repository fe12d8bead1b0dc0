"""Profiles: the typed settings of one chapter at one scale.

``smoke``, ``cpu``, ``night`` and ``gpu`` are instances of one frozen model, so they differ in
values only, not in code.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from okml.errors import ParameterError
from okml.settings import (
    AtLeastOne,
    DeviceName,
    NonNegative,
    Positive,
    Seed,
    Settings,
    did_you_mean,
)

ProfileName = Literal["smoke", "cpu", "night", "gpu"]  # smallest first, the paper's last
PROFILE_NAMES: tuple[ProfileName, ...] = get_args(ProfileName)
MOST_SUGGESTED = 3
LONGEST_SHOWN = 40  # characters of a wrong value that a message repeats
# Types of pydantic errors for a value that is no list or no object.
WRITTEN_AS_JSON = {"tuple_type", "list_type", "dict_type", "model_type", "model_attributes_type"}


class Budget(Settings):
    """The resource limits of one run, which ``okml doctor`` compares with the machine."""

    minutes: Positive  # wall time
    memory_gib: Positive  # resident memory of the process
    disk_gib: Positive  # downloads and intermediate files
    gpu_memory_gib: NonNegative = 0  # memory of one GPU; 0: none is needed


class Profile(Settings):
    """Settings shared by all chapters; each chapter adds its own fields."""

    chapter: ClassVar[str]

    name: ProfileName
    budget: Budget
    seeds: AtLeastOne[Seed]  # one result for each seed
    device: DeviceName = "auto"

    def override(self, changes: Mapping[str, Any]) -> Self:
        """Return a validated copy with ``changes`` applied.

        Values may be strings from a command line: ``"3"`` becomes 3 for an integer field, and
        ``"[0, 1]"`` a tuple for a tuple field. A dotted name selects a field of a nested model or
        of a list of them: ``budget.minutes``, ``models.0.dtype``. An object changes the fields
        that it names and keeps the others; an object of another ``kind``, a list or a dictionary
        replaces the old value.

        Raises:
            ParameterError: If a name is no field, or a value does not fit it.
        """
        changed: Any = self
        for name, value in changes.items():
            changed = _with(changed, name, _parse(name, value), type(self).__name__)
        values = _plain(changed)
        try:
            return type(self).model_validate(values)
        except ValidationError as error:
            raise ParameterError(
                _explain(error, values, self), f"Profile {self.name!r} of {self.chapter}."
            ) from None

    @property
    def for_gpu(self) -> bool:
        """Whether the settings are meant for a machine with a GPU."""
        return self.budget.gpu_memory_gib > 0

    def fingerprint(self) -> str:
        """Return the SHA-256 of the settings as canonical JSON: equal settings, equal hash."""
        return canonical_hash(self.model_dump(mode="json"))


ProfileT = TypeVar("ProfileT", bound=Profile)


def by_name(*profiles: ProfileT) -> dict[ProfileName, ProfileT]:
    """Return the scales of a chapter by their names."""
    return {profile.name: profile for profile in profiles}


def canonical_hash(value: Any, *, ensure_ascii: bool = True) -> str:
    """Return the SHA-256 of a value as canonical JSON; other types, such as dates, as strings."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), default=str, ensure_ascii=ensure_ascii
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _with(now: Any, name: str, value: Any, owner: str) -> Any:
    """Return settings, or a list or dictionary of them, with a new value for a dotted name.

    The result is not validated, since all changes are validated together.
    """
    head, dot, rest = name.partition(".")
    key: Any = head
    if isinstance(now, tuple | list):
        if not head.isdecimal() or int(head) >= len(now):
            raise ParameterError(f"{owner} has the numbers 0 to {len(now) - 1}, not {head!r}.")
        key = int(head)
    elif not isinstance(now, BaseModel | Mapping):
        raise ParameterError(f"{owner} has no fields of its own.")
    elif head not in (fields := type(now).model_fields if isinstance(now, BaseModel) else now):
        raise ParameterError(
            f"{owner} has no field {head!r}.{_suggestion(head, _plain(now))}",
            f"Fields: {', '.join(sorted(fields))}.",
        )
    if head == "kind" and _is_another_kind(now, value):
        return {"kind": value}
    inner = getattr(now, key) if isinstance(now, BaseModel) else now[key]
    place = f"{owner}.{head}"
    inner = _with(inner, rest, value, place) if dot else _merged(inner, value, place)
    if isinstance(now, BaseModel):
        return now.model_copy(update={key: inner})
    if isinstance(now, Mapping):
        return {**now, key: inner}
    return (*now[:key], inner, *now[key + 1 :])


def _merged(now: Any, value: Any, owner: str) -> Any:
    """Return settings updated by the fields of an object; return any other value itself."""
    if not isinstance(now, BaseModel) or not isinstance(value, Mapping):
        return value
    if "kind" in value and _is_another_kind(now, value["kind"]):
        return value
    for name, inner in value.items():
        now = _with(now, str(name), inner, owner)
    return now


def _is_another_kind(now: Any, kind: Any) -> bool:
    """Tell whether settings have a field ``kind`` that cannot take this value."""
    own = type(now).model_fields.get("kind") if isinstance(now, BaseModel) else None
    return own is not None and kind not in get_args(own.annotation)


def _plain(values: Any) -> Any:
    """Return settings as dictionaries and lists."""
    if isinstance(values, str | int | float | None):
        return values
    if isinstance(values, BaseModel | dict):
        named = vars(values) if isinstance(values, BaseModel) else values
        return {name: _plain(value) for name, value in named.items()}
    return [_plain(value) for value in values] if isinstance(values, tuple | list) else values


def _parse(name: str, value: Any) -> Any:
    """Parse a string that is a JSON list or object, or null; return any other value itself."""
    if not isinstance(value, str) or not (value.startswith(("[", "{")) or value == "null"):
        return value
    try:
        return json.loads(value, object_pairs_hook=_named_once)
    except RecursionError:
        raise ParameterError(f"{name}: the JSON is nested too deeply.") from None
    except ValueError as error:
        raise ParameterError(f"{name}: {_shown(value)} is not valid JSON: {error}.") from None


def _named_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a name is there twice among {', '.join(name for name, _ in pairs)}")
    return found


def _suggestion(name: str, values: Any) -> str:
    """Return a question that suggests similar fields, or nested fields of a similar name."""
    if near := did_you_mean(name, values):
        return near
    inside: dict[str, list[str]] = {}
    for dotted in _dotted(values):
        inside.setdefault(dotted.rsplit(".", 1)[-1], []).append(dotted)
    close = difflib.get_close_matches(name, inside, n=2)
    found = [repr(dotted) for last in close for dotted in inside[last]][:MOST_SUGGESTED]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _dotted(values: Any) -> Iterator[str]:
    """Yield the dotted names of all fields; those of a list from its first element."""
    for name, value in enumerate(values[:1]) if isinstance(values, list) else values.items():
        yield str(name)
        if isinstance(value, dict | list):
            yield from (f"{name}.{rest}" for rest in _dotted(value))


def _explain(error: ValidationError, values: Any, present: Profile) -> str:
    """Return one line for each wrong field with the reasons, and examples of JSON values.

    ``values`` were validated, and ``present`` are the settings before the change.
    """
    reasons: dict[str, list[str]] = {}
    errors = error.errors()
    within = {step["loc"][:depth] for step in errors for depth in range(len(step["loc"]))}
    for item in errors:
        if item["type"] == "too_short" and item["loc"] in within:
            continue  # pydantic does not count invalid elements
        place = _place(item["loc"], values, missing=item["type"] == "missing")
        match item["type"]:
            case kind if kind in WRITTEN_AS_JSON:
                reason = item["msg"] + _example(place, _plain(present))
            case "extra_forbidden":
                reason = "There is no such field"
            case "value_error" | "missing" | "unknown_name":
                reason = item["msg"].removeprefix("Value error, ").removesuffix(".")
            case _:
                reason = f"{item['msg']}; got {_shown(item['input'])}"
        reasons.setdefault(".".join(map(str, place)) or "settings", []).append(reason)
    return "\n".join(f"{name}: {'. Or: '.join(found)}." for name, found in reasons.items())


def _place(steps: Sequence[int | str], values: Any, missing: bool) -> list[int | str]:
    """Return the path of a field, without the names of a union's branches.

    ``steps`` is its location in the error of pydantic, whose last field may be ``missing``.
    """
    place = []
    for step in steps:
        inside = isinstance(values, dict) and step in values
        if inside or (isinstance(values, list) and step in range(len(values))):
            values = values[step]
        elif not missing or step != steps[-1]:
            continue
        place.append(step)
    return place


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _example(place: Sequence[int | str], present: Any) -> str:
    """Return an example of a list or an object in JSON, from the present value."""
    for step in place:
        inside = isinstance(present, dict) and step in present
        if not inside and not (isinstance(present, list) and step in range(len(present))):
            return "; write it as JSON"
        present = present[step]
    if isinstance(present, list) and present and isinstance(present[0], dict):
        present = present[:1]
    written = json.dumps(present, ensure_ascii=False, default=str)
    return f"; write it as JSON: -p {shlex.quote('.'.join(map(str, place)) + '=' + written)}"
