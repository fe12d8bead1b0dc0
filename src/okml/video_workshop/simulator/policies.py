"""Policies of VideoSim: greedy ones by a score, oracles, and the logging policy."""

from __future__ import annotations

import numpy as np

from okml.seqrec.best import best_places
from okml.video_workshop.simulator.rollout import Policy, Score, Situation, Slates
from okml.video_workshop.simulator.settings import VideoSimSettings
from okml.video_workshop.simulator.world import Floats, World, value_of

ORACLES = ("random", "clicks", "clicks 25 %", "clicks 50 %", "clicks 75 %", "watch", "value")
LOGIT_SPREAD = 1.3  # standard deviation of the noise that is mixed with the true logit


def best_of(score: Score, slate: int) -> Policy:
    """Return the policy that shows the candidates with the highest scores."""

    def choose(situation: Situation, rng: np.random.Generator) -> Slates:
        places = best_places(score(situation), slate)
        return Slates(places, np.full(places.shape, np.nan))

    return choose


def by_table(table: Floats) -> Score:
    """Return the score given by a table of users and items, ``[u, i]``."""
    return lambda situation: table[situation.users[:, None], situation.candidates]


def oracle(world: World, name: str, settings: VideoSimSettings) -> Policy:
    """Return a policy that ranks by the truth.

    Args:
        world: World whose true responses are ranked by.
        name: One of ``ORACLES``: no score; the logit of a click, or a mixture of it with fixed
            noise; watching before noise times the click probability; the expected growth of good
            will.
        settings: Sizes, and the seed of the noise.
    """

    def random(situation: Situation, rng: np.random.Generator) -> Slates:
        places = best_places(rng.random(situation.candidates.shape), settings.slate)
        return Slates(places, np.full(places.shape, np.nan))

    if name == "random":
        return random
    if name.startswith("clicks"):
        accuracy = float(name.split()[1]) / 100 if " " in name else 1.0
        return best_of(click_score(world, accuracy, settings), settings.slate)
    if name == "watch":
        return best_of(_after_click(world, world.watch, np.zeros_like(world.watch)), settings.slate)
    after, shown = value_of(world.watch, 1, world.like, 0), value_of(0, 0, 0, world.hate)
    return best_of(_after_click(world, after, shown), settings.slate)


def _after_click(world: World, after: Floats, shown: Floats) -> Score:
    """Return the score ``P(click) * after + shown`` from tables of users and items."""

    def score(s: Situation) -> Floats:
        pairs = s.users[:, None], s.candidates
        found: Floats = world.click(s.users, s.candidates, s.satiation) * after[pairs]
        return found + shown[pairs]

    return score


def click_score(world: World, accuracy: float, settings: VideoSimSettings) -> Score:
    """Return ``accuracy`` times the true logit of a click, the rest fixed noise of its spread."""
    noise_rng = np.random.default_rng([settings.world_seed, 1])
    noise = LOGIT_SPREAD * noise_rng.standard_normal((world.users, world.items))

    def score(s: Situation) -> Floats:
        logit = world.click_logit(s.users, s.candidates, s.satiation)
        return accuracy * logit + (1 - accuracy) * noise[s.users[:, None], s.candidates]

    return score


def logging_policy(world: World, settings: VideoSimSettings) -> Policy:
    """Return the logging policy: a slate drawn from a softmax, and some uniform requests.

    A Plackett-Luce slate is the order of scores with Gumbel noise. The propensity of an item is
    its exact probability to be the first of the slate, over both kinds of requests.
    """
    score = click_score(world, settings.accuracy, settings)

    def choose(situation: Situation, rng: np.random.Generator) -> Slates:
        logits = settings.sharpness * score(situation)
        explored = rng.random(len(logits)) < settings.exploration
        drawn = np.where(explored[:, None], 0.0, logits) + rng.gumbel(size=logits.shape)
        places = best_places(drawn, settings.slate)
        chance = mixed_softmax(logits, settings.exploration)
        return Slates(places, np.take_along_axis(chance, places, 1), explored)

    return choose


def mixed_softmax(logits: Floats, exploration: float) -> Floats:
    """Return the probabilities of a softmax mixed with a share of uniform draws, ``[n, c]``."""
    weights = np.exp(logits - logits.max(1, keepdims=True))
    softmax = weights / weights.sum(1, keepdims=True)
    found: Floats = exploration / logits.shape[1] + (1 - exploration) * softmax
    return found
