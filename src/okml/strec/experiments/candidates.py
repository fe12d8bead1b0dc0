"""The encoders for measurements of time and memory, with random weights and histories."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from okml.seqrec.backbone import Backbone
from okml.strec.arms import BACKBONE, Arm, build, mixer_arms, sampled, short_arms
from okml.strec.data import SplitLog
from okml.strec.schedule import scaled
from okml.strec.settings import StrecProfile
from okml.strec.study import Study

FULL, LAST = "backbone, every query", "backbone, last query"
NAMES = {"strec": "STRec", "recency": "STRec, recency", "random": "STRec, random"}


@dataclass(frozen=True, eq=False)
class Candidate:
    """An encoder to measure, with random weights, and the histories that it reads.

    Attributes:
        name: The name in tables.
        encoder: The encoder module.
        items: The items of the histories, ``[b, n]``.
        times: Their times in seconds, int64 ``[b, n]``.
        every_query: Whether the last layer computes the outputs of all positions.
    """

    name: str
    encoder: Backbone
    items: Tensor
    times: Tensor
    every_query: bool = False

    def encode(self, items: Tensor, times: Tensor) -> Tensor:
        """Return the vectors after histories, ``[b, d]``."""
        if self.every_query:
            return self.encoder(items, times, padded=False)[:, -1]  # type: ignore[no-any-return]
        return self.encoder.last(items, times, padded=False)

    def to(self, device: torch.device) -> Candidate:
        """Return a copy on another device."""
        return replace(
            self,
            encoder=copy.deepcopy(self.encoder).to(device),
            items=self.items.to(device),
            times=self.times.to(device),
        )

    def __call__(self) -> Tensor:
        """Return the vectors after all its histories, ``[b, d]``."""
        return self.encode(self.items, self.times)


def random_histories(
    study: Study, data: SplitLog, count: int, length: int
) -> tuple[Tensor, Tensor]:
    """Draw items and times from the log independently; the cost does not depend on them.

    Returns:
        The items and their times on the device, both ``[count, length]``.
    """
    generator = torch.Generator().manual_seed(0)
    flat = data.interactions
    places = torch.randint(len(flat), (count, length), generator=generator)
    items = torch.from_numpy(flat.items)[places].long()
    times = torch.from_numpy(flat.times)[places].sort(1).values
    return items.to(study.device), times.to(study.device)


def candidate(
    study: Study, data: SplitLog, arm: Arm, histories: tuple[Tensor, Tensor]
) -> Candidate:
    """Return the encoder of an arm for histories of any length; it reads the newest items.

    Args:
        study: The study of the run.
        data: The data set, which says how many items there are.
        arm: The arm, whose encoder has random weights.
        histories: Items and times, both ``[b, n]``.
    """
    profile, length = study.profile, histories[0].shape[1]
    settings = data.settings.model_copy(update={"length": length})
    torch.manual_seed(0)
    encoder = cast(Backbone, build(arm, data.items, profile, settings, profile.recipe))
    items, times = (part[:, -(arm.length or length) :].contiguous() for part in histories)
    return Candidate(NAMES.get(arm.name, arm.name), encoder.to(study.device).eval(), items, times)


def candidates(
    study: Study, data: SplitLog, arms: Iterable[Arm], histories: tuple[Tensor, Tensor]
) -> list[Candidate]:
    """Return the backbone with all queries, the same with the last query alone, and arms.

    The arguments are those of :func:`candidate`.
    """
    backbone = candidate(study, data, BACKBONE, histories)
    return [
        replace(backbone, name=FULL, every_query=True),
        replace(backbone, name=LAST),
        *(candidate(study, data, arm, histories) for arm in arms),
    ]


def measured_arms(profile: StrecProfile) -> list[Arm]:
    """Return STRec and its controls, short inputs and the mixers."""
    main, recipe = profile.main, profile.recipe
    rankings = [sampled(name, main, recipe) for name in ("strec", "recency", "random")]
    return [*rankings, *short_arms(main), *mixer_arms(profile)]


def arms_at(profile: StrecProfile, length: int) -> list[Arm]:
    """Return arms for another length, with schedule and short input in proportion."""
    main = profile.main
    schedule = scaled(main.schedule, main.length, length)
    return [
        replace(sampled("strec", main, profile.recipe), schedule=schedule),
        Arm("newest tenth", length=max(1, length // 10)),
        *mixer_arms(profile),
    ]
