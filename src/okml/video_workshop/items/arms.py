"""The trainings of the theme: item representations, by the tables that show them."""

from __future__ import annotations

from dataclasses import dataclass

from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.items import ItemArm, LastItemArm

LABELS: dict[ItemArm, str] = {
    "id": "a row an item",
    "hash": "hash",
    "random_codes": "random codes",
    "sid_unigram": "Semantic ID",
    "sid_prefix": "Semantic ID, prefixes",
    "sid_rqvae": "Semantic ID of an RQ-VAE",
    "content": "content alone",
    "hybrid_sid": "own row + Semantic ID, gate and played new",
    "hybrid_content": "own row + content, gate and played new",
    "content_sum": "own row + content, plain sum",
    "hybrid_shuffled": "own row + content of other new items, gate and played new",
    "hybrid_gate": "own row + Semantic ID, gate only",
    "hybrid_played": "own row + Semantic ID, played new only",
    "hybrid_naive": "own row + Semantic ID, plain sum",
}


@dataclass(frozen=True)
class ItemJob:
    """One training.

    Attributes:
        arm: Name of the item representation.
        seed: Random seed of weights, order, dropout, hashes and quantizers.
        last: Whether it is judged on everybody's last item instead of on new items.
    """

    arm: ItemArm | LastItemArm
    seed: int
    last: bool = False

    @property
    def name(self) -> str:
        """Name of the training's folder."""
        return f"{'last_items_' if self.last else ''}{self.arm}_seed_{self.seed}"


def new_item_jobs(profile: VideoWorkshopProfile) -> list[ItemJob]:
    """Return the representations that are compared on known and on new items."""
    settings = profile.items
    jobs = [ItemJob(arm, seed) for arm in settings.arms for seed in profile.seeds]
    return jobs + [ItemJob(arm, profile.seeds[0]) for arm in settings.once]


def last_item_jobs(profile: VideoWorkshopProfile) -> list[ItemJob]:
    """Return the representations that are compared on everybody's last item."""
    settings = profile.items.leave_one_out
    jobs = [ItemJob(arm, seed, last=True) for arm in settings.arms for seed in profile.seeds]
    return jobs + [ItemJob(arm, profile.seeds[0], last=True) for arm in settings.once]


def all_jobs(profile: VideoWorkshopProfile) -> list[ItemJob]:
    """Return every training of the theme."""
    return [*new_item_jobs(profile), *last_item_jobs(profile)]
