"""The response model of VideoSim: click, watch, like and hate probabilities, and good will.

Every item has a *quality*, estimated from ratings, and a *bait*, which raises clicks and lowers
watch time and good will, so a perfect click model shows bait.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from okml.errors import DataError
from okml.video_workshop.common.data import Watched
from okml.video_workshop.settings.goals import VideoSimSettings

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
SHRINKAGE = 10.0  # pseudo-ratings at the mean
BAIT_QUALITY = -0.44  # coefficient of quality in bait
WATCH_NOISE = 0.1  # standard deviation of a watched fraction
SATIATION_KEPT = 0.8  # decay factor of satiation per request
GOODWILL_KEPT = 0.85  # decay factor of good will per session


@dataclass(frozen=True, eq=False)
class World:
    """Users and items, numbered from 0.

    Attributes:
        features: Content components of variance one, ``[i, c]``.
        quality: Quality of items, of mean zero and variance one, ``[i]``.
        bait: Bait of items, of mean zero and variance one, ``[i]``.
        affinity: Affinity of each user to each item, of variance one, ``[u, i]``.
        susceptibility: Susceptibility of each user to bait, of mean one, ``[u]``.
    """

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
        return self._fresh_click[users[:, None], items] - 0.3 * full.clip(0, 3)

    def click(self, users: Ints, items: Ints, satiation: Floats) -> Floats:
        """Return the click probability of each shown item, ``[n, k]``."""
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
        """Probability that a shown video is hated, ``[u, i]``."""
        return sigmoid(-5 - 0.8 * self.affinity - 0.5 * self.quality + 0.9 * self.bait)

    @cached_property
    def _fresh_click(self) -> Floats:
        """Click logit without satiation, ``[u, i]``."""
        return -1 + 0.8 * self.affinity + 0.9 * self.susceptibility[:, None] * self.bait


def value_of(watched: Any, clicked: Any, liked: Any, hated: Any) -> Any:
    """Return the contribution to good will: watching and likes, minus clicks and hate."""
    return watched - 0.45 * clicked + 0.5 * liked - 2 * hated


def build_world(watched: Watched, content: Floats, settings: VideoSimSettings) -> World:
    """Build a world from the users and films of a log.

    Args:
        watched: Rating log, from which tastes and qualities are estimated.
        content: Content vector of each item, ``[items, d]``.
        settings: Sizes, and the seed of the simulated attributes.

    Raises:
        DataError: If the content does not fit the log.
    """
    log = watched.interactions
    if len(content) != log.item_count or log.values is None:
        raise DataError(
            f"{len(content)} vectors of content for {log.item_count} items.",
            "Give one an item, without padding, and a log with ratings.",
        )
    rng = np.random.default_rng(settings.world_seed)
    items, users = log.items.astype(np.int64) - 1, event_users(log.offsets)
    ratings = log.values.astype(np.float64)
    features = _components(content.astype(np.float64), settings.components)
    quality = _standard(
        np.bincount(items, ratings - ratings.mean(), log.item_count)
        / (np.bincount(items, minlength=log.item_count) + SHRINKAGE)
    )
    promise = _standard(rng.beta(2, 5, log.item_count))
    taste = _taste(users, ratings, features[items])
    affinity = taste @ features.T
    return World(
        features=features,
        quality=quality,
        bait=_standard(0.9 * promise + BAIT_QUALITY * quality),
        affinity=affinity / affinity.std(),
        susceptibility=rng.gamma(2, 0.5, len(taste)),
    )


def event_users(offsets: Ints) -> Ints:
    """Return the user of each event, ``[e]``, from the offsets of users, ``[u + 1]``."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def sigmoid(logits: Floats) -> Floats:
    """Return the logistic function."""
    found: Floats = 0.5 * (1 + np.tanh(0.5 * logits))  # the form that never overflows
    return found


def clipped_mean(mean: Floats, spread: float) -> Floats:
    """Return the mean of normal variables clipped to [0, 1], in any shape.

    Args:
        mean: Mean before clipping.
        spread: Standard deviation before clipping.
    """
    low, high = -mean / spread, (1 - mean) / spread
    inside = mean * (ndtr(high) - ndtr(low)) + spread * (_density(low) - _density(high))
    found: Floats = inside + ndtr(-high)
    return found


def _density(values: Floats) -> Floats:
    found: Floats = np.exp(-0.5 * values**2) / np.sqrt(2 * np.pi)
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


def _standard(values: Floats) -> Floats:
    found: Floats = (values - values.mean()) / values.std()
    return found
