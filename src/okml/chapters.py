"""The chapters, with a look-up by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from okml.errors import ParameterError
from okml.paths import repository_root
from okml.profile import PROFILE_NAMES, Profile
from okml.settings import did_you_mean

if TYPE_CHECKING:
    from okml.experiment import ChapterExperiment
    from okml.ledger import RunRecord
    from okml.plan import Plan

CHAPTERS = (
    "space_time",
    "strec",
    "offline_rl",
    "add",
    "lightsage",
    "video_workshop",
    "periodic_behavior",
)

# The notebooks of a chapter with several themes, in the order of reading; others have one.
THEMES = {
    "video_workshop": (
        "video_workshop_foundation",
        "video_workshop_objectives",
        "video_workshop_incremental",
    )
}


@dataclass(frozen=True)
class Chapter:
    """One chapter: its digest, its package and its notebook, or a prefix of them, is ``name``."""

    name: str

    @property
    def notebooks(self) -> tuple[Path, ...]:
        """The paths of the executable chapter, in the order of reading; most have one."""
        folder = repository_root() / "notebooks"
        return tuple(folder / f"{name}.ipynb" for name in THEMES.get(self.name, (self.name,)))

    @property
    def notebook(self) -> Path:
        """The path of the first notebook."""
        return self.notebooks[0]

    def profile(self, name: str, overrides: Mapping[str, Any] | None = None) -> Profile:
        """Return the settings called ``name`` with ``overrides`` applied.

        Raises:
            ParameterError: If no profile has this name, the chapter states none for it, or an
                override does not fit.
        """
        if name not in PROFILE_NAMES:
            raise ParameterError(
                f"Unknown profile {name!r}.", f"Profiles: {', '.join(PROFILE_NAMES)}."
            )
        profiles = self.profiles()
        if name not in profiles:
            raise ParameterError(
                f"The chapter {self.name} states no profile {name!r}.",
                f"It has {', '.join(profiles)}.",
            )
        found = profiles[name].override(overrides or {})
        if found.name != name:
            raise ParameterError("name: it is no setting, --profile chooses among the profiles.")
        return found

    def profiles(self) -> Mapping[str, Profile]:
        """Return the settings of the chapter at each of its scales."""
        config = importlib.import_module(f"okml.{self.name}.config")
        return cast("dict[str, Profile]", config.PROFILES)

    def run(self, profile: Profile, run_dir: Path) -> RunRecord:
        """Run the whole experiment; finished parts in ``run_dir`` are reused."""
        return self.experiment(profile, run_dir).record()

    @property
    def experiment(self) -> type[ChapterExperiment[Any, Any]]:
        """The class of the chapter's experiment."""
        module = importlib.import_module(f"okml.{self.name}.experiment")
        return cast("type[ChapterExperiment[Any, Any]]", module.Experiment)

    def plan(self, profile: Profile) -> Plan:
        """Return the predicted memory, disk, data and hours of a run."""
        module = importlib.import_module(f"okml.{self.name}.planning")
        return cast("Plan", module.plan(profile))


def chapter(name: str) -> Chapter:
    """Return the chapter called ``name``.

    Raises:
        ParameterError: If there is none; the message lists those that exist.
    """
    if name not in CHAPTERS:
        raise ParameterError(
            f"Unknown chapter {name!r}.{did_you_mean(name, CHAPTERS)}",
            f"Chapters: {', '.join(CHAPTERS)}.",
        )
    return Chapter(name)
