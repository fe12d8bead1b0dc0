"""Roll-outs of policies in the world: requests, sessions and returns of users over days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from okml.seqrec.best import best_places
from okml.video_workshop.goals.impressions import NOBODY, Impressions
from okml.video_workshop.goals.world import (
    GOODWILL_KEPT,
    SATIATION_KEPT,
    WATCH_NOISE,
    Floats,
    Ints,
    World,
    sigmoid,
)
from okml.video_workshop.settings.goals import VideoSimSettings

TEMPER = 3.0  # initial patience of a session
LAST_DAYS = 5  # days over which daily active users are averaged


@dataclass(frozen=True, eq=False)
class Situation:
    """A batch of requests, each of a different user.

    Attributes:
        users: User numbers, ``[n]``.
        candidates: Numbers of the candidate items, ``[n, c]``.
        recent: Last clicked items, the newest last, ``[n, t]``; ``NOBODY`` where there is none.
        satiation: Satiation with each content component, ``[n, c]``, which only oracles may read.
    """

    users: Ints
    candidates: Ints
    recent: Ints
    satiation: Floats


@dataclass(frozen=True, eq=False)
class Slates:
    """The slates shown for requests.

    Attributes:
        places: Places of the shown items among the candidates, best first, ``[n, k]``.
        propensity: Probability of each shown item to be the first of the slate, ``[n, k]``; NaN for
            a deterministic policy.
        random: Whether a slate was drawn uniformly, ``[n]``; None: no slate was.
    """

    places: Ints
    propensity: Floats
    random: NDArray[np.bool_] | None = None


Policy = Callable[[Situation, np.random.Generator], Slates]
Score = Callable[[Situation], Floats]  # scores of the candidates, [n, c]


@dataclass(frozen=True, eq=False)
class Rollout(Impressions):
    """The served requests in order, one row each; watching is a fraction.

    Attributes:
        value: Contribution of each impression to its user's good will, ``[r, k]``.
        satiation: Satiation before each request, ``[r, c]``.
        active: Whether each user came on each day, ``[days, u]``.
    """

    candidates: NDArray[np.int32]  # [r, c]
    value: NDArray[np.float32]
    satiation: NDArray[np.float32]
    active: NDArray[np.bool_]

    NOT_OF_REQUESTS: ClassVar[tuple[str, ...]] = ("active",)

    def until(self, day: int) -> Rollout:
        """Return the requests before a day."""
        return replace(self.where(self.days < day), active=self.active[:day])

    def summary(self) -> dict[str, float]:
        """Return the mean responses, and who comes back.

        ``value`` is a mean over impressions. ``ctr, day 1`` covers all users, while later days
        cover the returning ones, who differ between policies. A user with a long session has more
        impressions in it, and the policy affects the length of sessions; ``ctr, first request`` and
        ``ctr, day 1, by user``, the mean of the users' own shares, count each user once.
        """
        first_day = self.days == 0
        users = self.users[first_day]
        clicks, requests = np.bincount(users, self.clicked[first_day].mean(1)), np.bincount(users)
        return {
            "ctr": float(self.clicked.mean()),
            "watch": float(self.watched.mean()),
            "depth": len(self.days) / float(self.active.sum()),
            "like": float(self.liked.mean()),
            "hate": float(self.hated.mean()),
            "dau": float(self.active[-LAST_DAYS:].mean()),
            "watch a user": float(self.watched.sum(dtype=np.float64)) / self.active.shape[1],
            "value": float(self.value.mean()),
            "ctr, day 1": float(self.clicked[first_day].mean()),
            "ctr, day 1, by user": float((clicks / requests).mean()),
            "ctr, first request": float(self.clicked[first_day & (self.turns == 0)].mean()),
        }


def roll_out(
    world: World,
    policy: Policy,
    settings: VideoSimSettings,
    rng: np.random.Generator,
    days: int | None = None,
    keep_states: bool = False,
) -> Rollout:
    """Let a policy serve all users of a world from the initial state.

    Args:
        world: World with its users and items.
        policy: Policy that answers requests.
        settings: Settings of sizes and horizons.
        rng: Source of all randomness.
        days: Number of days; None: the value of the settings.
        keep_states: Whether to keep candidates, recent clicks and satiation, which logs need and
            evaluations do not.
    """
    count = settings.days if days is None else days
    goodwill = np.zeros(world.users)
    state = _State(
        np.zeros((world.users, settings.components)),
        np.full((world.users, settings.recent), NOBODY, dtype=np.int64),
    )
    active = np.zeros((count, world.users), dtype=bool)
    rows: list[dict[str, NDArray[Any]]] = []
    for day in range(count):
        # All users come on the first day.
        comes = rng.random(world.users) < sigmoid(0.2 + 1.2 * goodwill)
        active[day] = comes | (day == 0)
        here = np.flatnonzero(active[day])
        worth, requests = np.zeros(world.users), np.zeros(world.users)
        temper = np.full(world.users, TEMPER)
        for turn in range(settings.longest):
            row = _serve(world, policy, settings, rng, here, state, keep_states)
            when = {"days": day, "turns": turn, "sessions": day}  # a user has one session a day
            rows.append({name: np.full(len(here), number) for name, number in when.items()} | row)
            worth[here] += row["value"].mean(1)
            requests[here] += 1
            temper[here] += (row["watched"].sum(1) - 1.2).clip(-1, 0.3)
            here = here[temper[here] > 0]
            if not len(here):
                break
        session = worth / requests.clip(1)
        goodwill = np.where(
            active[day],
            GOODWILL_KEPT * goodwill + (1 - GOODWILL_KEPT) * (6 * session).clip(-3, 3),
            goodwill,
        )
    joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return Rollout(**joined, active=active)


@dataclass(eq=False)
class _State:
    """The mutable state of users: satiation ``[u, c]`` and the last clicked items ``[u, t]``."""

    satiation: Floats
    recent: Ints


def _serve(
    world: World,
    policy: Policy,
    settings: VideoSimSettings,
    rng: np.random.Generator,
    users: Ints,
    state: _State,
    keep_states: bool,
) -> dict[str, NDArray[Any]]:
    """Answer one request of each of ``users``, update the state and return the columns of rows."""
    candidates = draw_candidates(rng, len(users), world.items, settings.candidates)
    situation = Situation(users, candidates, state.recent[users], state.satiation[users])
    slates = policy(situation, rng)
    items = np.take_along_axis(candidates, slates.places, 1)  # [n, k]
    chance, looked = rng.random((3, *items.shape)), looked_at(settings)
    clicked = chance[0] < looked * world.click(users, items, situation.satiation)
    noise = WATCH_NOISE * rng.standard_normal(items.shape)
    watched = np.where(clicked, (world.watch[users[:, None], items] + noise).clip(0, 1), 0.0)
    liked = clicked & (chance[1] < world.like[users[:, None], items])
    hated = chance[2] < looked * world.hate[users[:, None], items]
    new = np.einsum("nk,nkc->nc", clicked, world.features[items])
    state.satiation[users] = SATIATION_KEPT * situation.satiation + (1 - SATIATION_KEPT) * new
    state.recent[users] = push_recent(situation.recent, items, clicked)
    kept = len(users) if keep_states else 0
    return {
        "users": users,
        "items": items,
        "clicked": clicked,
        "watched": watched.astype(np.float32),
        "liked": liked,
        "hated": hated,
        "value": world.worth.of(watched, clicked, liked, hated).astype(np.float32),
        "propensity": slates.propensity.astype(np.float32),
        "random": np.zeros(len(users), bool) if slates.random is None else slates.random,
        "candidates": candidates[:kept].astype(np.int32),
        "recent": situation.recent[:kept].astype(np.int32),
        "satiation": situation.satiation[:kept].astype(np.float32),
    }


def looked_at(settings: VideoSimSettings) -> Floats:
    """Return the chance that each place of a slate is looked at, ``[k]``: the position bias."""
    return np.power(settings.examined, np.arange(settings.slate), dtype=np.float64)


def draw_candidates(rng: np.random.Generator, rows: int, items: int, count: int) -> Ints:
    """Draw ``count`` different items for each row, all sets equally likely, ``[rows, count]``.

    Repeated draws are drawn again until there are none. The procedure is symmetric in the items,
    hence in the sets.
    """
    drawn = rng.integers(items, size=(rows, count))
    owner = np.empty((rows, items), dtype=np.int16)  # place that drew an item last
    row, place = np.arange(rows)[:, None], np.arange(count, dtype=np.int16)
    while True:
        owner[row, drawn] = place
        repeated = owner[row, drawn] != place
        if not repeated.any():
            return drawn
        drawn[repeated] = rng.integers(items, size=int(repeated.sum()))


def push_recent(recent: Ints, items: Ints, clicked: NDArray[np.bool_]) -> Ints:
    """Return the last clicked items after a slate ``[n, k]``, the newest last, ``[n, t]``."""
    joined = np.concatenate([recent, np.where(clicked, items, NOBODY)], axis=1)
    # A stable sort by "is an item" moves the gaps to the left and keeps the order of clicks.
    order = np.argsort(joined != NOBODY, axis=1, kind="stable")
    return np.take_along_axis(joined, order, 1)[:, -recent.shape[1] :]


ORACLES = ("random", "clicks", "watch", "value")
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
        name: One of ``ORACLES``: no score; the logit of a click; watching before noise times the
            click probability; the expected growth of good will.
        settings: Settings of the world, which have the number of shown items.
    """

    def random(situation: Situation, rng: np.random.Generator) -> Slates:
        places = best_places(rng.random(situation.candidates.shape), settings.slate)
        return Slates(places, np.full(places.shape, np.nan))

    if name == "random":
        return random
    if name == "clicks":
        return best_of(click_score(world, accuracy=1.0), settings.slate)
    if name == "watch":
        return best_of(_after_click(world, world.watch, np.zeros_like(world.watch)), settings.slate)
    after, shown = world.worth.of(world.watch, 1, world.like, 0), world.worth.hate * world.hate
    return best_of(_after_click(world, after, shown), settings.slate)


def _after_click(world: World, after: Floats, shown: Floats) -> Score:
    """Return the score ``P(click) * after + shown`` from tables of users and items."""

    def score(s: Situation) -> Floats:
        pairs = s.users[:, None], s.candidates
        found: Floats = world.click(s.users, s.candidates, s.satiation) * after[pairs]
        return found + shown[pairs]

    return score


def click_score(world: World, accuracy: float) -> Score:
    """Return ``accuracy`` times the true logit of a click, the rest fixed noise of its spread."""
    noise_rng = np.random.default_rng([world.seed, 1])
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
    score = click_score(world, settings.accuracy)

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
    found: Floats = exploration / logits.shape[1] + (1 - exploration) * softmax(logits, axis=1)
    return found
