"""The base of the studies of all themes: the log, the content of its items, and the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from okml.accelerator import pick_device
from okml.errors import ParameterError
from okml.paths import atomic_write
from okml.seqrec.interactions import TieRule
from okml.video_workshop.common.content import Features, film_features
from okml.video_workshop.common.data import Watched, has_tie_rule, load_watched
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.data import WatchLogSettings

Array = NDArray[np.generic]


def kept_arrays(path: Path, compute: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
    """Return the arrays that a file holds; without a file, compute and write them."""
    if not path.is_file():
        found = compute()
        with atomic_write(path, "wb") as handle:
            np.savez(handle, **found)  # type: ignore[arg-type]
    with np.load(path) as kept:
        return dict(kept)


class Study:
    """The data of one run, each part read once.

    Args:
        run_dir: Folder of the run.
        opened: Another study of the run, whose data are used again.
    """

    def __init__(
        self, profile: VideoWorkshopProfile, run_dir: Path, opened: Study | None = None
    ) -> None:
        self.profile = profile
        self.run_dir = run_dir
        self._opened = opened

    @cached_property
    def device(self) -> torch.device:
        """Device of trainings and rankings."""
        return pick_device(self.profile.device)

    @cached_property
    def watched(self) -> Watched:
        """The log of the chapter."""
        return load_watched(self.profile.data) if self._opened is None else self._opened.watched

    def log_of(self, data: WatchLogSettings | None) -> Watched:
        """Return another log, or the chapter's if there are no settings of another one."""
        return self.watched if data is None else load_watched(data)

    def in_order(self, tie_rule: TieRule, tie_seed: int = 0) -> Watched:
        """Return the log of the chapter with tied events in another order.

        Raises:
            ParameterError: If the log has no tied events.
        """
        data = self.profile.data
        if not has_tie_rule(data.log):
            raise ParameterError(f"The events of {data.log} have one order only.")
        order = {"tie_rule": tie_rule, "tie_seed": tie_seed}
        return load_watched(data.model_copy(update=order))

    @cache  # noqa: B019 - a study lives as long as its run
    def content(self, seed: int) -> Features:
        """Return the content vectors of items, unit vectors ``[items + 1, f]``."""
        return film_features(self.watched.films, self.profile.data.text, seed)
