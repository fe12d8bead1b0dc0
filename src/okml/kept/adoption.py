"""Adoption of results that other code has kept for the same settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from okml.errors import ParameterError
from okml.kept.needs import Needs
from okml.kept.results import LISTING, DamagedError, KeptResult, read_result, save
from okml.kept.trainings import (
    Trainings,
    all_trainings,
    folder_name,
    maker,
    needs_now,
    write_versions,
)
from okml.profile import Profile

SHOWN = 8  # names in one line where nothing is adopted
MANY = (f"more than {SHOWN} functions, classes or constants",)


@dataclass(frozen=True)
class StaleResult:
    """A result that other code has kept and the current code has not.

    Attributes:
        name: The name of the step, or of the function that trains.
        differences: The functions, classes, constants and libraries in which the code differs.
        adopt: A call of it keeps the result for the current code.
    """

    name: str
    differences: tuple[str, ...]
    adopt: Callable[[], object]


def offer(profile: Profile, run_dir: Path, adopt: bool) -> None:
    """Print which results other code has kept for the settings of a run, and adopt them on request.

    Raises:
        ParameterError: If trainings are to be adopted in place of others that have begun.
    """
    found = [*_stale_steps(profile, run_dir), *_stale_trainings(profile, run_dir, adopt)]
    if not found:
        return
    said = "are adopted" if adopt else "are not used; --adopt would take them over"
    print(f"{profile.chapter} at {profile.name}: results of other code ({len(found)}) {said}.")
    names: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for stale in found:
        many = len(stale.differences) > SHOWN and not adopt
        names[MANY if many else stale.differences].append(stale.name)
    for differences, together in names.items():
        print(f"  {', '.join(sorted(set(together)))}: other code in {', '.join(differences)}")
    for stale in found if adopt else ():
        stale.adopt()


def adopted(profile: Profile, run_dir: Path, device: str) -> dict[str, tuple[str, ...]]:
    """Return how the code behind the adopted results of a run differs from the current code.

    Returns:
        The differing functions, classes, constants and libraries, by the name of the step or of
        the function that trains.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for folder, kept in _kept_steps(profile, run_dir):
        current = kept.needs.device == device and kept.needs == needs_now(profile, kept.needs)
        if kept.adopted and current:
            found[folder.name].update(kept.adopted)
    for one in all_trainings(profile, run_dir):
        for version in one.versions if one.current else ():
            if one.now is not None and version != one.now:
                found[maker(version)].update(version.differences(one.now))
    return {name: tuple(sorted(differences)) for name, differences in sorted(found.items())}


def _kept_steps(profile: Profile, run_dir: Path) -> Iterator[tuple[Path, KeptResult]]:
    """Yield the kept step results with the settings of a run, by any code, the newest first."""
    roots = ("steps", "parts/steps")  # steps of the experiment, and of its separately kept parts
    places = [path.parent for root in roots for path in run_dir.glob(f"{root}/*/*/{LISTING}")]
    for place in sorted(places, key=lambda place: place.stat().st_mtime, reverse=True):
        try:
            kept = read_result(place)
        except DamagedError:
            continue
        if kept.needs.settings == profile.fingerprint():
            yield place.parent, kept


def _stale_steps(profile: Profile, run_dir: Path) -> Iterator[StaleResult]:
    kept = [(*found, needs_now(profile, found[1].needs)) for found in _kept_steps(profile, run_dir)]
    there = {(folder, one.needs.key) for folder, one, _ in kept}
    for folder, one, now in kept:
        if now is None or (folder, now.key) in there or not one.needs.same_but_code(now):
            continue
        there.add((folder, now.key))  # the newest is taken
        differences = tuple(sorted({*one.adopted, *one.needs.differences(now)}))
        take = partial(save, folder, now, one.content, one.frames, differences)
        yield StaleResult(folder.name, differences, take)


def _stale_trainings(profile: Profile, run_dir: Path, adopt: bool) -> Iterator[StaleResult]:
    found = list(all_trainings(profile, run_dir))
    there = {one.folder.name: one.folder for one in found}
    for one in found:
        if one.now is None or one.current or not one.versions[-1].same_but_code(one.now):
            continue
        name = folder_name(one.now)
        if name not in there:
            there[name] = one.folder
            differences = sorted(
                {name for version in one.versions for name in version.differences(one.now)}
            )
            yield StaleResult(maker(one.now), tuple(differences), partial(_take, one, one.now))
        elif adopt and there[name].name == name and _files(one.folder) > _files(there[name]):
            raise ParameterError(
                f"Trainings by the code of now have begun in {there[name]}.",
                f"To adopt those in {one.folder}, which are more, remove that folder first; or "
                "run without --adopt.",
            )


def _take(trainings: Trainings, now: Needs) -> None:
    """Add the current code to a folder's list, then rename the folder for this code."""
    before = [needs for needs in trainings.versions if needs != now]  # an interrupted adoption's
    write_versions(trainings.folder, [*before, now])
    trainings.folder.replace(trainings.folder.with_name(folder_name(now)))


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))
