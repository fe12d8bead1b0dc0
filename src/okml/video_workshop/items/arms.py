"""The trainings of the theme: item representations, by the tables that show them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.items import ItemArm, LastItemArm

LABELS: dict[ItemArm, str] = {
    "id": "a row an item",
    "hash": "hash",
    "multihash": "several hashes",
    "qr": "quotient × remainder",
    "random_codes": "random codes",
    "sid_unigram": "Semantic ID",
    "sid_bigram": "Semantic ID, pairs",
    "sid_prefix": "Semantic ID, prefixes",
    "sid_spm": "Semantic ID, learned pieces",
    "sid_rqvae": "Semantic ID of an RQ-VAE",
    "sid_pretrained": "Semantic ID of pre-trained content",
    "content": "content alone",
    "content_pretrained": "content alone, pre-trained",
    "hybrid_sid": "own row + Semantic ID, gate and played new",
    "hybrid_content": "own row + content, gate and played new",
    "hybrid_gate": "own row + Semantic ID, gate only",
    "hybrid_played": "own row + Semantic ID, played new only",
    "hybrid_naive": "own row + Semantic ID, plain sum",
}
PRETRAINED: tuple[ItemArm, ...] = ("sid_pretrained", "content_pretrained")
SWEPT: tuple[ItemArm, ...] = ("sid_unigram", "random_codes")  # over budgets of rows


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        arm: Name of the item representation; ``co_engagement``: the pre-training of content.
        seed: Random seed of weights, order, dropout, hashes and quantizers.
        codes: K of the compressed arms; None: the value of the settings.
        last: Whether it is judged on everybody's last item instead of on new items.
    """

    arm: ItemArm | LastItemArm | Literal["co_engagement"]
    seed: int
    codes: int | None = None
    last: bool = False

    @property
    def name(self) -> str:
        """Name of the training's folder."""
        budget = "" if self.codes is None else f" {self.codes} codes"
        last = "last items " if self.last else ""
        return re.sub(r"[^\w.-]+", "_", f"{last}{self.arm}{budget} seed {self.seed}")


def new_item_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return the representations that are compared on known and on new items."""
    settings = profile.items
    jobs = [Job(arm, seed) for arm in settings.arms for seed in profile.seeds]
    return jobs + [Job(arm, profile.seeds[0]) for arm in settings.once]


def budget_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return the compressed representations at each number of rows, the fewest first."""
    settings, seed, jobs = profile.items, profile.seeds[0], []
    for codes in sorted({settings.codes, *settings.budget_codes}):
        if codes != settings.codes:
            jobs += [Job(arm, seed, codes) for arm in SWEPT]
        else:
            done = (*settings.arms, *settings.once)
            jobs += [Job(arm, seed) for arm in SWEPT if arm in done]
    return jobs


def last_item_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return the representations that are compared on everybody's last item."""
    settings = profile.items.leave_one_out
    jobs = [Job(arm, seed, last=True) for arm in settings.arms for seed in profile.seeds]
    return jobs + [Job(arm, profile.seeds[0], last=True) for arm in settings.once]


def all_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return every training of the theme once, without the pre-trainings that they need."""
    jobs = [*new_item_jobs(profile), *budget_jobs(profile), *last_item_jobs(profile)]
    return list(dict.fromkeys(jobs))


def pretrained_seeds(profile: VideoWorkshopProfile) -> list[int]:
    """Return the seeds for which content vectors are pre-trained."""
    return sorted({job.seed for job in all_jobs(profile) if job.arm in PRETRAINED})
