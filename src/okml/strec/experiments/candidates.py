"""The encoders for measurements of time and memory, with random weights and histories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from okml.seqrec.backbone import Backbone
from okml.strec.arms import BACKBONE, Arm, build, mixer_arms, rescheduled, sampled
from okml.strec.data import Prepared
from okml.strec.schedule import scaled
from okml.strec.study import Study

FULL, LAST = "backbone, every query", "backbone, last query"

Encode = Callable[[Tensor, Tensor], Tensor]  # items and times [b, n] to vectors [b, d]


@dataclass(frozen=True, eq=False)
class Candidate:
    """An encoder to measure, with random weights.

    Attributes:
        name: The name in tables.
        encoder: The encoder module.
        encode: A function from items and times ``[b, n]`` to vectors ``[b, d]``.
        length: The number of items that it reads.
    """

    name: str
    encoder: Backbone
    encode: Encode
    length: int


@dataclass(frozen=True, eq=False)
class Inputs:
    """Items and times of random histories on the device, both ``[b, n]``."""

    items: Tensor
    times: Tensor

    def newest(self, length: int) -> Inputs:
        """Return the newest ``length`` items of each history."""
        return Inputs(self.items[:, -length:].contiguous(), self.times[:, -length:].contiguous())


def random_histories(study: Study, data: Prepared, count: int, length: int) -> Inputs:
    """Draw items and times independently from the log; the cost does not depend on them."""
    generator = torch.Generator().manual_seed(0)
    flat = data.interactions
    places = torch.randint(len(flat), (count, length), generator=generator)
    items = torch.from_numpy(flat.items)[places].long()
    times = torch.from_numpy(flat.times)[places].sort(1).values
    return Inputs(items.to(study.device), times.to(study.device))


def candidates(study: Study, data: Prepared) -> list[Candidate]:
    """Return two forms of the backbone, STRec and its controls, short inputs and the mixers."""
    profile = study.profile
    arms = [
        *(sampled(name, data.settings, profile.recipe) for name in ("strec", "recency", "random")),
        *(Arm(f"newest {n}", length=n) for n in data.settings.short_lengths),
        *mixer_arms(profile),
    ]
    length = data.settings.length
    return [*backbones(study, data, length), *(candidate(study, data, a, length) for a in arms)]


def candidates_at(study: Study, data: Prepared, length: int) -> list[Candidate]:
    """Return encoders for another length, with schedule and short input in proportion."""
    main = data.settings
    arms = [
        replace(
            sampled("strec", main, study.profile.recipe),
            schedule=scaled(main.schedule, main.length, length),
        ),
        Arm("newest tenth", length=max(1, length // 10)),
        *mixer_arms(study.profile),
    ]
    return [*backbones(study, data, length), *(candidate(study, data, a, length) for a in arms)]


def backbones(study: Study, data: Prepared, length: int) -> Iterator[Candidate]:
    """Yield the backbone with all queries in the last layer, and with only the last query."""
    last = candidate(study, data, BACKBONE, length)
    model = last.encoder
    yield replace(last, name=FULL, encode=lambda items, times: model(items, times, False)[:, -1])
    yield replace(last, name=LAST)


def candidate(study: Study, data: Prepared, arm: Arm, length: int) -> Candidate:
    """Return the encoder of an arm for histories of ``length`` items."""
    profile = study.profile
    torch.manual_seed(0)
    settings = profile.backbone(data.settings, profile.recipe).model_copy(update={"length": length})
    encoder = build(arm, data.items, settings, profile.recipe).to(study.device).eval()
    names = {"strec": "STRec", "recency": "STRec, recency", "random": "STRec, random"}
    return Candidate(
        names.get(arm.name, arm.name),
        encoder,
        lambda items, times: encoder.last(items, times, padded=False),
        arm.length or length,
    )


def schedule_candidates(
    study: Study, data: Prepared
) -> Iterator[tuple[tuple[int, ...], Candidate]]:
    """Yield STRec with each schedule of the sweep, by recency, since all rankings cost the same."""
    profile, length = study.profile, data.settings.length
    for schedule in profile.sweep:
        arm = rescheduled("recency", schedule, data.settings, profile.recipe)
        name = f"schedule {'-'.join(map(str, schedule))}"
        yield schedule, replace(candidate(study, data, arm, length), name=name)
