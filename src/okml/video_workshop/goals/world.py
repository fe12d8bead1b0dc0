"""The response model of VideoSim: click, watch, like and hate probabilities, and good will.

Every item has a *quality*, estimated from ratings, and a *bait*, which raises clicks and lowers
watching, so a perfect click model shows bait. What clicks and watching are worth to a user is drawn
anew for each world: in some worlds a ranker of clicks keeps more users than one of watching.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm, zscore

from okml.errors import DataError
from okml.video_workshop.common.data import Watched
from okml.video_workshop.settings.goals import VideoSimSettings

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
sigmoid: Callable[[Floats], Floats] = expit
standardized: Callable[[Floats], Floats] = zscore
SHRINKAGE = 10.0  # pseudo-ratings at the mean
BAIT_QUALITY = -0.44  # coefficient of quality in bait
WATCH_NOISE = 0.1  # standard deviation of a watched fraction
SATIATION_KEPT = 0.8  # decay factor of satiation per request
GOODWILL_KEPT = 0.85  # decay factor of good will per session


class Worth(NamedTuple):
    """What each response to an impression adds to its user's good will."""

    watch: float
    click: float
    like: float
    hate: float

    def of(self, watched: Any, clicked: Any, liked: Any, hated: Any) -> Any:
        """Return the contribution of impressions, arrays of any shape."""
        watch, click, like, hate = self
        return watch * watched + click * clicked + like * liked + hate * hated


@dataclass(frozen=True, eq=False)
class World:
    """Users and items, numbered from 0.

    Attributes:
        seed: Seed from which the world was drawn.
        worth: Contribution of each response to good will.
        weariness: Click logit that an item loses for each unit of satiation with it.
        features: Content components of variance one, ``[i, c]``.
        quality: Quality of items, of mean zero and variance one, ``[i]``.
        bait: Bait of items, of mean zero and variance one, ``[i]``.
        affinity: Affinity of each user to each item, of variance one, ``[u, i]``.
        susceptibility: Susceptibility of each user to bait, of mean one, ``[u]``.
    """

    seed: int
    worth: Worth
    weariness: float
    features: Floats
    quality: Floats
    bait: Floats
    affinity: Floats
    susceptibility: Floats

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.affinity)

    @property
    def items(self) -> int:
        """Number of items."""
        return len(self.quality)

    def click_logit(self, users: Ints, items: Ints, satiation: Floats) -> Floats:
        """Return the click logit of each shown item, ``[n, k]``.

        Args:
            users: User numbers, ``[n]``.
            items: Item numbers, ``[n, k]``.
            satiation: Satiation with each content component, ``[n, c]``.
        """
        full = np.take_along_axis(satiation @ self.features.T, items, 1) / 4
        return self._fresh_click[users[:, None], items] - self.weariness * full.clip(0, 3)

    def click(self, users: Ints, items: Ints, satiation: Floats) -> Floats:
        """Return the click probability of each item that is looked at, ``[n, k]``."""
        return sigmoid(self.click_logit(users, items, satiation))

    # The other responses do not depend on the state, so they are tables of users and items.

    @cached_property
    def watch(self) -> Floats:
        """Fraction of a clicked video that is watched, before noise, ``[u, i]``."""
        return sigmoid(-0.3 + 0.8 * self.affinity + 0.7 * self.quality - 0.9 * self.bait)

    @cached_property
    def expected_watch(self) -> Floats:
        """Mean fraction of a clicked video that is watched, ``[u, i]``.

        Clipping of the noisy fraction lowers it below ``watch`` near one and raises it near zero.
        """
        return clipped_mean(self.watch, WATCH_NOISE)

    @cached_property
    def like(self) -> Floats:
        """Probability that a clicked video is liked, ``[u, i]``."""
        return sigmoid(-3.2 + 0.8 * self.affinity + 0.8 * self.quality - 0.4 * self.bait)

    @cached_property
    def hate(self) -> Floats:
        """Probability that a video that is looked at is hated, ``[u, i]``."""
        return sigmoid(-5 - 0.8 * self.affinity - 0.5 * self.quality + 0.9 * self.bait)

    @cached_property
    def _fresh_click(self) -> Floats:
        """Click logit without satiation, ``[u, i]``."""
        return -1 + 0.8 * self.affinity + 0.9 * self.susceptibility[:, None] * self.bait


def build_world(watched: Watched, content: Floats, settings: VideoSimSettings, seed: int) -> World:
    """Build a world from the users and films of a log.

    Args:
        watched: Rating log, from which tastes and qualities are estimated.
        content: Content vector of each item, ``[items, d]``.
        settings: Sizes, and the ranges of the worth of responses.
        seed: Random seed of baits, susceptibilities and the worth of responses.

    Raises:
        DataError: If the content does not fit the log.
    """
    log = watched.interactions
    if len(content) != log.item_count or log.values is None:
        raise DataError(
            f"{len(content)} vectors of content for {log.item_count} items.",
            "Give one an item, without padding, and a log with ratings.",
        )
    rng, worth = np.random.default_rng(seed), settings.worth
    items, users = log.items.astype(np.int64) - 1, log.users().astype(np.int64)
    ratings = log.values.astype(np.float64)
    features = _components(content.astype(np.float64), settings.components)
    quality = standardized(
        np.bincount(items, ratings - ratings.mean(), log.item_count)
        / (np.bincount(items, minlength=log.item_count) + SHRINKAGE)
    )
    promise = standardized(rng.beta(2, 5, log.item_count))
    taste = _taste(users, ratings, features[items])
    affinity = taste @ features.T
    return World(
        seed=seed,
        worth=Worth(*(rng.uniform(*getattr(worth, name)) for name in Worth._fields)),
        weariness=settings.weariness,
        features=features,
        quality=quality,
        bait=standardized(0.9 * promise + BAIT_QUALITY * quality),
        affinity=affinity / affinity.std(),
        susceptibility=rng.gamma(2, 0.5, len(taste)),
    )


def clipped_mean(mean: Floats, spread: float) -> Floats:
    """Return the mean of normal variables clipped to [0, 1], in any shape.

    Args:
        mean: Mean before clipping.
        spread: Standard deviation before clipping.
    """
    low, high = -mean / spread, (1 - mean) / spread
    inside = mean * (norm.cdf(high) - norm.cdf(low)) + spread * (norm.pdf(low) - norm.pdf(high))
    found: Floats = inside + norm.sf(high)
    return found


def _taste(users: Ints, ratings: Floats, features: Floats) -> Floats:
    """Return the unit direction of each user's above-average ratings, ``[u, c]``."""
    counts = np.bincount(users)
    above = ratings - (np.bincount(users, ratings) / counts)[users]
    summed = np.zeros((len(counts), features.shape[1]))
    np.add.at(summed, users, above[:, None] * features)
    lengths = np.linalg.norm(summed, axis=1, keepdims=True)
    found: Floats = np.divide(summed, lengths, out=np.zeros_like(summed), where=lengths > 0)
    return found


def _components(content: Floats, count: int) -> Floats:
    """Return the first principal components of content, of variance one, ``[i, c]``.

    The singular values of real content are distinct, so only signs are arbitrary, and they cancel
    in every use of the components.
    """
    left, _, _ = np.linalg.svd(content - content.mean(0), full_matrices=False)
    found: Floats = left[:, :count] * len(content) ** 0.5
    return found
